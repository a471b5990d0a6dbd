"""Write a model file: whole or not at all, and from file to file what nobody touched."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from onnxopt.atomic import replacing
from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.exporter import inline, to_proto, write_header
from onnxopt.ir.graph import Graph, every_graph, every_node
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import MappedValues

_INLINE_LIMIT = 1_900_000_000
"""Bytes of weights above which they go into a file of their own: protobuf ends at 2 GB, and the graph needs room."""
_SMALL = 1024
"""Tensors of fewer bytes stay in the model file: shapes and scalars, which shape inference wants to see."""
_PAGE = 4096
"""Large tensors start at a page, so that a runtime can map them (onnxruntime asks for it from 1 MiB on)."""


def save(graph: Graph, path: str | Path, *, external: bool | None = None, sync: bool = True) -> None:
    """Write a model, atomically, its external data included.

    External data go into one file beside the model, `NAME.data`, or `NAME.1.data`, ... while a file of that name is
    in use by the model that is being replaced: the old model keeps its data until the new one stands.

    Args:
        graph: A main graph.
        path: The model file; a previous one is replaced in the last step.
        external: Whether weights go into a file of their own; by default where they came from one, or exceed 1.9 GB.
        sync: Flush to the disk before the names change; without it a power cut, but no crash of ours, can lose both.

    Raises:
        OnnxoptError: The folder is missing or read-only, or the disk is full; the previous file is still there.
        BadModel: Without weights the graph is still over protobuf's 2 GB.
    """
    path = Path(path)
    old_data = _data_files(path)
    if external is None:
        external = _wants_external(graph)
    if not external:
        _write(to_proto(graph), path, sync)
    else:
        taken = {file.name for file in old_data}
        names = (f"{path.name}{'.' * bool(number)}{number or ''}.data" for number in range(len(taken) + 1))
        data = path.parent / next(name for name in names if name not in taken)
        with replacing(data, sync=sync) as file:
            writer = _DataFile(file, data.name)
            model = to_proto(graph, place=writer.place)
        _write(model, path, sync)
        old_data = [stale for stale in old_data if stale != data]
    for stale in old_data:
        stale.unlink(missing_ok=True)


def _write(model: ModelProto, path: Path, sync: bool) -> None:
    try:
        data = model.SerializeToString()
    except ValueError:
        raise BadModel(f"cannot write {path}: the model is over 2 GB; save it with external data") from None
    with replacing(path, sync=sync) as file:
        file.write(data)


def _constants(graph: Graph) -> list[Constant]:
    found = {constant: None for scope in every_graph(graph) for constant in scope.constants}
    for node in every_node(graph):
        for value in (*node.inputs, *node.attrs.values()):
            if isinstance(value, Constant):
                found[value] = None
    return list(found)


def _wants_external(graph: Graph) -> bool:
    constants = _constants(graph)
    return any(constant.is_stored for constant in constants) or sum(c.nbytes for c in constants) > _INLINE_LIMIT


class _DataFile:
    """A file of external data, written tensor after tensor."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.end = 0
        self._copied: dict[tuple[object, int, int], int] = {}

    def place(self, constant: Constant, out: TensorProto) -> None:
        """Put a constant's data here, or inline where they are small or strings."""
        if constant.nbytes < _SMALL or constant.dtype == dtypes.STRING or constant._export_dtype is not None:
            return inline(constant, out)
        values = constant._values
        if isinstance(values, MappedValues):
            key = (values.file, values.offset, values.length)
            if key not in self._copied:
                self._copied[key] = self._start(values.length)
                self._copy(values)
            offset, length = self._copied[key], values.length
        else:
            whole = TensorProto()
            inline(constant, whole)
            data = whole.raw_data or constant.read().tobytes()
            offset, length = self._start(len(data)), len(data)
            self.file.write(data)
            self.end += length
        write_header(constant, out)
        out.data_location = TensorProto.EXTERNAL
        for key_, value in (("location", self.name), ("offset", str(offset)), ("length", str(length))):
            out.external_data.add(key=key_, value=value)
        return None

    def _start(self, length: int) -> int:
        align = _PAGE if length >= _PAGE else 64
        self.end += -self.end % align
        self.file.seek(self.end)
        return self.end

    def _copy(self, values: MappedValues) -> None:
        """Copy from file to file inside the kernel: the bytes never enter this process."""
        self.file.flush()
        source, target = values.file.fileno(), self.file.fileno()
        done = 0
        while done < values.length:
            count = _copy_range(source, target, values.length - done, values.offset + done, self.end + done)
            if count == 0:
                raise BadModel(f"{values.file.path}: ended while '{values.tensor.name}' was copied")
            done += count
        self.end += done
        self.file.seek(self.end)


def _copy_range(source: int, target: int, count: int, start: int, to: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, count, start, to)
        except OSError:  # across file systems, on old kernels
            pass
    return os.pwrite(target, os.pread(source, min(count, 1 << 24), start), to)


def _data_files(path: Path) -> list[Path]:
    """The external data files of the model that now stands at `path`, as far as `save` named them."""
    try:
        model = ModelProto.FromString(path.read_bytes())
    except (OSError, DecodeError):
        return []
    ours = re.compile(re.escape(path.name) + r"(\.\d+)?\.data")
    names = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location" and ours.fullmatch(entry.value)
    }
    return [path.parent / name for name in sorted(names)]
