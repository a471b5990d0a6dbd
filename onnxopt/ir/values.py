"""Where a constant's numbers are: in a TensorProto, in a file, in a sparse TensorProto, or in an array that is shared.

Each is read only when asked for, so that a model costs the memory of its graph and not of its weights, and is written
back as it came when nobody replaced it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import SparseTensorProto, TensorProto, numpy_helper
from onnx_graphsurgeon.ir import tensor as gs

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.mapped_file import MappedFile

Array = npt.NDArray[Any]
_KEPT = 1024
"""Bytes of a small array that stays beside its TensorProto once it was read."""


class Values(gs.LazyValues):  # type: ignore[misc]
    """The numbers of a constant, not yet read."""

    shape: tuple[int, ...]
    dtype: dtypes.DType
    nbytes: int
    """Bytes in memory once read."""
    tensor: Any
    """The TensorProto with its data, or the SparseTensorProto: what graphsurgeon's own exporter asks for."""

    def read(self) -> Array:
        """The numbers, read-only; memory-mapped where they lie in a file.

        Raises:
            BadModel: The file has become shorter, or the numbers do not make an array.
        """
        raise NotImplementedError

    def load(self) -> Array:
        """The numbers as an array of the caller's own."""
        return np.array(self.read())

    def _describe(self, dims: Sequence[int], code: int, name: str) -> None:
        dtype = dtypes.to_numpy(code)
        if dtype is None:
            raise BadModel(f"tensor '{name}' has element type {code}, which this installation of onnx lacks")
        self.shape = tuple(dims)
        if any(dim < 0 for dim in self.shape):
            raise BadModel(f"tensor '{name}' has a negative dimension: {list(dims)}")
        self.dtype = dtype
        self.nbytes = math.prod(self.shape) * dtype.itemsize


class InlineValues(Values):
    """Numbers held by a TensorProto, in whichever of its fields the file used."""

    tensor: TensorProto

    def __init__(self, tensor: TensorProto) -> None:
        self.tensor = tensor
        self._array: Array | None = None
        self._describe(tensor.dims, tensor.data_type, tensor.name)
        require_complete(tensor)

    def read(self) -> Array:
        """Numbers of the TensorProto, read-only."""
        array = self._array
        if array is None:
            array = _to_array(self.tensor)
            if self.nbytes <= _KEPT:  # shapes and scalars are asked for again and again
                self._array = array
        return array


class MappedValues(Values):
    """Numbers that lie in a file, `length` bytes from `offset`, in the layout of `raw_data`."""

    def __init__(
        self, header: TensorProto, file: MappedFile, offset: int, length: int, *, in_model: bool = False
    ) -> None:
        self.header = header
        """The TensorProto without its data."""
        self.in_model = in_model
        """Whether the file is the model itself, and no external data."""
        self.file, self.offset, self.length = file, offset, length
        self._describe(header.dims, header.data_type, header.name)
        expected = dtypes.stored_bytes(header.data_type, math.prod(self.shape))
        if expected is None:
            raise BadModel(f"tensor '{header.name}' keeps strings as external data, which ONNX does not allow")
        if length != expected:
            raise BadModel(
                f"tensor '{header.name}' of shape {list(self.shape)} needs {expected} bytes, "
                f"but has {length} in {file.path.name}"
            )

    @property
    def tensor(self) -> TensorProto:
        """The TensorProto with its data, read into memory."""
        whole = TensorProto()
        whole.CopyFrom(self.header)
        whole.raw_data = self.raw().tobytes()
        return whole

    def raw(self) -> memoryview:
        """The bytes as they are stored."""
        return self.file.view(self.offset, self.length)

    def read(self) -> Array:
        """The numbers, memory-mapped; sub-byte types are unpacked into memory."""
        if self.length == self.nbytes:
            return np.frombuffer(self.raw(), self.dtype).reshape(self.shape)
        return _to_array(self.tensor)


class SparseValues(Values, gs.SparseValues):  # type: ignore[misc]
    """Numbers of a SparseTensorProto (IR specification: COO, linear `[NNZ]` or `[NNZ, rank]` indices)."""

    tensor: SparseTensorProto

    def __init__(self, sparse: SparseTensorProto) -> None:
        self.tensor = sparse
        values, indices = sparse.values, sparse.indices
        self._describe(sparse.dims, values.data_type, values.name)
        for part in (values, indices):
            if part.data_location == TensorProto.EXTERNAL:
                raise BadModel(f"sparse tensor '{values.name}' has external data, which is not supported")
            require_complete(part)
        count = list(values.dims)
        if (
            len(count) != 1
            or indices.data_type != TensorProto.INT64
            or list(indices.dims) not in (count, [*count, len(self.shape)])
        ):
            raise BadModel(
                f"sparse tensor '{values.name}' has values of shape {count} and indices of shape {list(indices.dims)}; "
                f"expected [NNZ], and int64 indices of shape [NNZ] or [NNZ, {len(self.shape)}]"
            )

    def read(self) -> Array:
        """The dense array."""
        numbers, indices = _to_array(self.tensor.values), _to_array(self.tensor.indices)
        try:
            where = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), self.shape)
            if indices.size and where.min() < 0:
                raise IndexError("negative index")
            dense = np.zeros(self.shape, numbers.dtype)
            dense.reshape(-1)[where] = numbers
        except (IndexError, ValueError) as error:
            raise BadModel(f"sparse tensor '{self.tensor.values.name}' of shape {list(self.shape)}: {error}") from None
        dense.flags.writeable = False
        return dense


class SharedValues(Values):
    """An array in memory that copies of one constant share: whoever wants to write into it gets his own."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    @property
    def tensor(self) -> TensorProto:
        """A TensorProto with the data."""
        return to_proto(self.array)

    def read(self) -> Array:
        """The array, read-only."""
        return read_only(self.array)


def read_only(array: Array) -> Array:
    """A view that cannot be written through."""
    view: Array = array.view()
    view.flags.writeable = False
    return view


def to_proto(array: Array) -> TensorProto:
    """An array as a TensorProto without a name: `raw_data`, or for strings `string_data`.

    Raises:
        TypeError: ONNX has no such element type.
    """
    code: Any = dtypes.to_onnx(array.dtype)
    if code != TensorProto.STRING:
        proto: TensorProto = numpy_helper.from_array(array)
        return proto
    items = (item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape") for item in array.flat)
    return TensorProto(dims=array.shape, data_type=code, string_data=items)


def _to_array(tensor: TensorProto) -> Array:
    """The numbers of a TensorProto, read-only. Strings need not be UTF-8: surrogates stand for what is not."""
    try:
        if tensor.data_type == TensorProto.STRING:
            items = [item.decode("utf-8", "surrogateescape") for item in tensor.string_data]
            array: Array = np.array(items, object).reshape(tuple(tensor.dims))
        else:
            array = numpy_helper.to_array(tensor)
    except ValueError as error:  # too many dimensions for numpy, or too large ones beside a 0
        raise BadModel(f"tensor '{tensor.name}' of shape {list(tensor.dims)} makes no array: {error}") from None
    return read_only(array)


_DATA_FIELDS: dict[int, tuple[str, int]] = {
    TensorProto.FLOAT: ("float_data", 1),
    TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1),
    TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1),
    TensorProto.UINT32: ("uint64_data", 1),
    TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.STRING: ("string_data", 1),
}
"""The field for each element type and its entries per element (onnx.proto); all others use `int32_data`."""


def require_complete(tensor: TensorProto) -> None:
    """A small file must not be able to ask for much memory: the data have to be there, all of them.

    Raises:
        BadModel: Data are missing or left over, or split into segments.
    """
    elements = math.prod(tensor.dims)
    bytes_ = dtypes.stored_bytes(tensor.data_type, elements)
    if tensor.HasField("segment"):
        raise BadModel(f"tensor '{tensor.name}' is split into segments, which no version of ONNX has defined")
    if tensor.HasField("raw_data") and bytes_ is not None:
        found, expected, what = len(tensor.raw_data), bytes_, "bytes"
    else:
        what, per_element = _DATA_FIELDS.get(tensor.data_type, ("int32_data", 1))
        found, expected = len(getattr(tensor, what)), elements * per_element
        if what == "int32_data" and bytes_ is not None:  # sub-byte types are packed there too, a byte in each entry
            expected = min(elements, bytes_)
    if found != expected:
        raise BadModel(
            f"tensor '{tensor.name}' of shape {list(tensor.dims)} needs {expected} {what}, but it has {found}"
        )
