"""Write a model file: whole or not at all, and from file to file what nobody touched."""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf.message import EncodeError
from onnx import ModelProto, TensorProto

from onnxopt.atomic import replacing
from onnxopt.errors import BadModel
from onnxopt.ir.adopt import adopt
from onnxopt.ir.data_file import DataFile, append, bytes_of
from onnxopt.ir.data_name import DataNames
from onnxopt.ir.exporter import inline, to_proto, write_header
from onnxopt.ir.graph import Graph
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import MappedValues, SparseValues
from onnxopt.ir.weights import weights
from onnxopt.ir.wire import PROTOBUF_LIMIT, Misplaced, WeightsWriter, length_of

_STREAMED = 1 << 16
"""Bytes of a new weight from which it goes from its array into the file, and not by way of protobuf's copies."""
_INLINE_LIMIT = 1_900_000_000
"""Bytes of weights above which they go into a file of their own: protobuf ends at 2 GB, and the graph needs room."""


def save(graph: Graph, path: str | Path, *, external: bool | None = None, sync: bool = False) -> None:
    """Write a model, atomically, its external data included.

    External data go into one file beside the model, `NAME.data`, or `NAME.1.data`, ... where a model in that folder
    uses a file of that name: an old model at `path` keeps its data until the new one stands.

    Args:
        graph: A main graph.
        path: The model file; a previous one is replaced in the last step.
        external: Whether weights go into a file of their own; by default where they came from one, or exceed 1.9 GB.
        sync: Flush to the disk before the names change. Without it too, a crash of ours, a kill or a full disk leaves
            the old file whole; against a power cut, ext4, btrfs and XFS order the two by themselves. It costs a wait
            for the disk: for 2.4 GB up to a quarter of a minute where the copy itself takes two seconds.

    Raises:
        OnnxoptError: The folder is missing or read-only, or the disk is full; the previous file is still there.
        BadModel: Without weights the graph is still over protobuf's 2 GB, or an attribute has a value that ONNX lacks.
    """
    adopt(graph)
    path = Path(os.path.realpath(path))  # the data belong beside the file, not beside a link to it
    names = DataNames(path)
    if _wants_external(graph) if external is None else external:
        data = path.parent / names.free()
        is_new = not data.exists()
        try:
            with replacing(data, sync=sync) as file:
                model = _serialized(to_proto(graph, place=DataFile(file, data.name).place), path)
            _write(model, path, sync)
        except BaseException:
            if is_new:
                DataNames(path).remove_orphan(data.name)
            raise
    else:
        _write_inline(graph, path, sync)
    names.remove_stale()


def _serialized(model: ModelProto, path: Path) -> bytes:
    try:
        return model.SerializeToString()
    except (EncodeError, ValueError):
        raise _too_large(path) from None


def _write_inline(graph: Graph, path: Path, sync: bool) -> None:
    """Write weights into the model file; those that lie in a file, from file to file."""
    writer = WeightsWriter()

    def place(constant: Constant, out: TensorProto) -> None:
        values = constant._values
        if isinstance(values, MappedValues) and constant._export_dtype is None:
            write_header(constant, out)
            writer.refer(values, out)
        elif constant.is_new and constant._export_dtype is None and constant.nbytes >= _STREAMED:
            write_header(constant, out)
            writer.refer(memoryview(bytes_of(constant)), out)
        else:
            inline(constant, out)

    try:
        pieces = writer.pieces(_serialized(to_proto(graph, place=place), path))
    except Misplaced:  # a weight that a pass moved into a subgraph or an attribute
        pieces = [_serialized(to_proto(graph), path)]
    if sum(map(length_of, pieces)) > PROTOBUF_LIMIT:
        raise _too_large(path)
    with replacing(path, sync=sync) as file:
        for piece in pieces:
            if isinstance(piece, MappedValues):
                append(piece, file)
            else:
                file.write(piece)


def _too_large(path: Path) -> BadModel:
    return BadModel(f"cannot write {path}: the model is over 2 GB; save it with external data")


def _write(model: bytes, path: Path, sync: bool) -> None:
    with replacing(path, sync=sync) as file:
        file.write(model)


def _wants_external(graph: Graph) -> bool:
    constants = list(weights(graph))
    inline = sum(constant.nbytes for constant in constants if not isinstance(constant._values, SparseValues))
    return inline > _INLINE_LIMIT or any(
        isinstance(constant._values, MappedValues) and not constant._values.in_model for constant in constants
    )
