"""Where a constant's numbers are: in a TensorProto, in a file, or in a sparse TensorProto.

Each is read only when asked for, so that a model costs the memory of its graph and not of its weights, and is written
back as it came when nobody replaced it.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import SparseTensorProto, TensorProto, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes

Array = npt.NDArray[Any]


class Values(LazyValues):  # type: ignore[misc]
    """The numbers of a constant, not yet read."""

    shape: tuple[int, ...]
    dtype: dtypes.DType
    nbytes: int
    """Bytes in memory once read."""

    def read(self) -> Array:
        """The numbers, read-only; memory-mapped where they lie in a file."""
        raise NotImplementedError

    def load(self) -> Array:
        """The numbers as an array of the caller's own."""
        return np.array(self.read())

    def _describe(self, dims: Any, code: int, name: str) -> None:
        dtype = dtypes.to_numpy(code)
        if dtype is None:
            raise BadModel(f"initializer '{name}' has element type {code}, which this installation of onnx lacks")
        self.shape = tuple(dims)
        if any(dim < 0 for dim in self.shape):
            raise BadModel(f"initializer '{name}' has a negative dimension: {list(dims)}")
        self.dtype = dtype
        self.nbytes = math.prod(self.shape) * dtype.itemsize


class InlineValues(Values):
    """Numbers held by a TensorProto, in whichever of its fields the file used."""

    def __init__(self, tensor: TensorProto) -> None:
        self.tensor = tensor
        self._describe(tensor.dims, tensor.data_type, tensor.name)
        _require_complete(tensor, math.prod(self.shape))

    def read(self) -> Array:
        """Numbers of the TensorProto, read-only."""
        array = numpy_helper.to_array(self.tensor)
        array.flags.writeable = False
        return array


class MappedFile:
    """A file of weights, mapped into memory when first read. Holds the file: replacing it by rename does no harm."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self.size = path.stat().st_size
        self._map: mmap.mmap | None = None

    def fileno(self) -> int:
        """The descriptor, for copies from file to file."""
        return self._file.fileno()

    def view(self, offset: int, length: int) -> memoryview:
        """`length` bytes from `offset`, without reading them yet."""
        if length == 0:
            return memoryview(b"")
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)[offset : offset + length]


class MappedValues(Values):
    """Numbers that lie in a file, `length` bytes from `offset`, in the layout of `raw_data`."""

    def __init__(self, header: TensorProto, file: MappedFile, offset: int, length: int) -> None:
        self.tensor = header
        """The TensorProto without its data; for external data, with the reference that the file had."""
        self.file, self.offset, self.length = file, offset, length
        self._describe(header.dims, header.data_type, header.name)
        expected = dtypes.stored_bytes(header.data_type, math.prod(self.shape))
        if expected is None:
            raise BadModel(f"initializer '{header.name}' keeps strings as external data, which ONNX does not allow")
        if length != expected:
            raise BadModel(
                f"initializer '{header.name}' of shape {list(self.shape)} needs {expected} bytes, has {length}"
            )

    def raw(self) -> memoryview:
        """The bytes as they are stored."""
        return self.file.view(self.offset, self.length)

    def read(self) -> Array:
        """The numbers, memory-mapped; sub-byte types are unpacked into memory."""
        if self.length == self.nbytes:
            return np.frombuffer(self.raw(), self.dtype).reshape(self.shape)
        packed = TensorProto(dims=self.shape, data_type=self.tensor.data_type, raw_data=self.raw().tobytes())
        array = numpy_helper.to_array(packed)
        array.flags.writeable = False
        return array


class SparseValues(Values):
    """Numbers of a SparseTensorProto (IR specification: COO, linear `[NNZ]` or `[NNZ, rank]` indices)."""

    def __init__(self, sparse: SparseTensorProto) -> None:
        self.tensor = sparse
        self._describe(sparse.dims, sparse.values.data_type, sparse.values.name)

    def read(self) -> Array:
        """The dense array."""
        numbers, indices = numpy_helper.to_array(self.tensor.values), numpy_helper.to_array(self.tensor.indices)
        dense = np.zeros(self.shape, numbers.dtype)
        where = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), self.shape)
        dense.reshape(-1)[where] = numbers
        dense.flags.writeable = False
        return dense


def _require_complete(tensor: TensorProto, elements: int) -> None:
    """A small file must not be able to ask for much memory: the data have to be there, all of them."""
    if tensor.HasField("raw_data"):
        found, expected = len(tensor.raw_data), dtypes.stored_bytes(tensor.data_type, elements)
    elif tensor.data_type in (TensorProto.FLOAT, TensorProto.COMPLEX64):
        found, expected = len(tensor.float_data), elements * (1 + (tensor.data_type == TensorProto.COMPLEX64))
    elif tensor.data_type in (TensorProto.DOUBLE, TensorProto.COMPLEX128):
        found, expected = len(tensor.double_data), elements * (1 + (tensor.data_type == TensorProto.COMPLEX128))
    elif tensor.data_type == TensorProto.INT64:
        found, expected = len(tensor.int64_data), elements
    elif tensor.data_type in (TensorProto.UINT32, TensorProto.UINT64):
        found, expected = len(tensor.uint64_data), elements
    elif tensor.data_type == TensorProto.STRING:
        found, expected = len(tensor.string_data), elements
    else:  # the narrow types share int32_data; sub-byte ones are packed into it
        found = len(tensor.int32_data)
        packed = dtypes.stored_bytes(tensor.data_type, elements)
        expected = packed if packed is not None and packed < elements else elements
    if expected is not None and found != expected:
        raise BadModel(
            f"tensor '{tensor.name}' of shape {list(tensor.dims)} needs {expected} values or bytes, it has {found}"
        )
