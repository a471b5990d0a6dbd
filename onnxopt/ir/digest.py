"""Digests of constants: one hash of type, shape and content, wherever the numbers lie."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from onnx import TensorProto, numpy_helper

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import Array, InlineValues, MappedValues, SparseValues, Values

CHUNK = 1 << 20
"""Bytes read at a time: a mapping of the whole file would count as this process's memory."""
_known: WeakKeyDictionary[Values, str] = WeakKeyDictionary()
"""Stored values never change, so each is read once a process. An array may be written to, and is always read."""


def digest(constant: Constant) -> str:
    """blake2b, 16 bytes in hex, of element type, shape and content (the layout of `raw_data`).

    The same for equal content inline, in any field of a TensorProto, in a file or in memory. Names do not count.

    Raises:
        BadModel: The file that holds the values has become shorter.
    """
    values = constant._values
    if not isinstance(values, Values):
        return _hash(constant, _array_bytes(converted(constant)))
    known = _known.get(values)
    if known is None:
        known = _known[values] = _hash(constant, _stored_bytes(constant, values))
    return known


def _hash(constant: Constant, chunks: Iterable[bytes | memoryview]) -> str:
    dtype = constant.dtype if constant._export_dtype is None else constant._export_dtype
    kind = "sparse" if isinstance(constant._values, SparseValues) else ""
    state = hashlib.blake2b(f"{kind}{dtypes.to_onnx(dtype)}{list(constant.shape)}".encode(), digest_size=16)
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()


def converted(constant: Constant) -> Array:
    """The values of a constant, read-only, in the element type that they are written in."""
    array = constant.read()
    code = constant._export_dtype
    return array if code is None else array.astype(dtypes.to_numpy(dtypes.to_onnx(code)))


def _stored_bytes(constant: Constant, values: Values) -> Iterable[bytes | memoryview]:
    if isinstance(values, SparseValues):  # not the dense array: a few bytes of file may claim terabytes of it
        parts = (values.tensor.values, values.tensor.indices)
        return itertools.chain.from_iterable(_array_bytes(numpy_helper.to_array(part)) for part in parts)
    if constant._export_dtype is None:
        if isinstance(values, MappedValues):
            return file_bytes(values)
        if isinstance(values, InlineValues) and values.tensor.HasField("raw_data"):
            return (values.tensor.raw_data,)
    return _array_bytes(converted(constant))


def file_bytes(values: MappedValues, size: int = CHUNK) -> Iterator[bytes]:
    """The stored bytes, `size` at a time.

    Raises:
        BadModel: The file has become shorter.
    """
    for start in range(0, values.length, size):
        wanted, chunk = min(size, values.length - start), b""
        while len(chunk) < wanted:
            more = os.pread(values.file.fileno(), wanted - len(chunk), values.offset + start + len(chunk))
            if not more:
                raise BadModel(f"{values.file.path}: ended while '{values.header.name}' was read")
            chunk = chunk + more if chunk else more
        yield chunk


def _array_bytes(array: Array) -> Iterator[bytes | memoryview]:
    if array.dtype == dtypes.STRING or array.dtype.kind in "US":
        for item in array.flat:
            data = item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")
            yield b"%d:" % len(data) + data
    elif dtypes.stored_bytes(dtypes.to_onnx(array.dtype), array.size) != array.nbytes:
        yield raw_data(array)
    else:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def raw_data(array: Array) -> bytes:
    """The bytes of `TensorProto.raw_data`: little-endian, sub-byte types packed."""
    proto: TensorProto = numpy_helper.from_array(array)
    return bytes(proto.raw_data)


def short(constant: Constant) -> str:
    """The first 12 hex digits of the digest: what texts show."""
    return digest(constant)[:12]


def of_text(text: Any) -> str:
    """A digest, 8 hex digits, of anything that is shown in a short form."""
    data = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=4).hexdigest()
