"""A file of external data, written tensor after tensor."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO

import numpy as np
from onnx import TensorProto

from onnxopt.errors import BadModel
from onnxopt.ir.exporter import inline, write_header
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import InlineValues, MappedValues, to_proto

_SMALL = 1024
"""Tensors of fewer bytes stay in the model file: shapes and scalars, which shape inference wants to see."""
_PAGE = 4096
"""Large tensors start at a page, so that a runtime can map them (onnxruntime asks for it from 1 MiB on)."""
_CHUNK = 1 << 24


class DataFile:
    """Takes the data of constants into `file`, which models will know by `name`."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self._end = 0
        self._placed: dict[object, tuple[int, object]] = {}
        """Where the data start that several constants may share; and the data, whose id must stay theirs meanwhile."""

    def place(self, constant: Constant, out: TensorProto) -> None:
        """Put a constant's data here, or inline where they are small or strings; say in `out` where they are.

        Raises:
            OSError: No room.
            BadModel: The file that the data come from has become shorter.
        """
        if constant.nbytes < _SMALL or constant._export_dtype is not None:
            return inline(constant, out)
        values, length = constant._values, constant.nbytes
        key = (values.file, values.offset) if isinstance(values, MappedValues) else id(values)
        if (key, length) not in self._placed:
            start = self._start(length)
            self._placed[key, length] = (start, values)
            if isinstance(values, MappedValues):
                append(values, self.file)
            else:
                self.file.write(bytes_of(constant))
            self._end = start + length
        offset, _ = self._placed[key, length]
        write_header(constant, out)
        out.data_location = TensorProto.EXTERNAL
        for field, value in (("location", self.name), ("offset", str(offset)), ("length", str(length))):
            out.external_data.add(key=field, value=value)
        return None

    def _start(self, length: int) -> int:
        align = _PAGE if length >= _PAGE else 64
        self._end += -self._end % align
        self.file.seek(self._end)
        return self._end


def append(values: MappedValues, file: BinaryIO) -> None:
    """Copy data from file to file, to where `file` stands.

    Raises:
        OSError: No room.
        BadModel: The file that the data come from has become shorter.
    """
    file.flush()
    start = file.tell()
    _copy_bytes(values, file.fileno(), start)
    file.seek(start + values.length)


def bytes_of(constant: Constant) -> bytes | memoryview:
    """The bytes of `raw_data`; of an array in memory without a copy."""
    values = constant._values
    if isinstance(values, InlineValues) and values.tensor.HasField("raw_data"):
        return values.tensor.raw_data
    array = constant.read()
    if constant.nbytes != array.nbytes:  # sub-byte types are packed
        return to_proto(array).raw_data
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _copy_bytes(values: MappedValues, target: int, start: int) -> None:
    """Copy inside the kernel, so that the bytes never enter this process; in chunks where the kernel cannot."""
    source, offset, done = values.file.fileno(), values.offset, 0
    while done < values.length:
        left, count = values.length - done, 0
        if hasattr(os, "copy_file_range"):
            with suppress(OSError):  # across file systems, on old kernels
                count = os.copy_file_range(source, target, left, offset + done, start + done)
        if count == 0:
            count = os.pwrite(target, os.pread(source, min(left, _CHUNK), offset + done), start + done)
        if count == 0:
            raise BadModel(f"{values.file.path}: has become shorter while it was in use")
        done += count
