"""ONNX element types and numpy dtypes: one table, both ways.

ONNX types that numpy lacks are ml_dtypes' (bfloat16, float8, 4-bit and narrower); strings are `object`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

DType = np.dtype[Any]


def _table() -> dict[int, DType]:
    known = {}
    for code in TensorProto.DataType.values():
        if code != TensorProto.UNDEFINED:
            try:
                known[code] = np.dtype(helper.tensor_dtype_to_np_dtype(code))
            except KeyError:  # a type newer than the installed ml_dtypes
                continue
    return known


_TO_NUMPY = _table()
_TO_ONNX = {dtype: code for code, dtype in _TO_NUMPY.items()}
_BITS = {
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    **{code: 2 for name, code in TensorProto.DataType.items() if name in ("UINT2", "INT2")},
}
STRING = np.dtype(object)


def to_numpy(code: int) -> DType | None:
    """The numpy dtype of a `TensorProto.DataType`; None for UNDEFINED and for types this installation lacks."""
    return _TO_NUMPY.get(code)


def to_onnx(dtype: Any) -> int:
    """The `TensorProto.DataType` of a numpy dtype (or of a code, returned as it is).

    Raises:
        TypeError: ONNX has no such element type.
    """
    if isinstance(dtype, int):
        return dtype
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        return int(TensorProto.STRING)
    try:
        return _TO_ONNX[dtype]
    except KeyError:
        raise TypeError(f"ONNX has no element type for numpy's {dtype}") from None


def same(one: DType | None, other: DType | None) -> bool:
    """Whether two element types are the same, or both unknown. numpy takes None for float64, and finds them equal."""
    return (one is None) == (other is None) and one == other


def is_known(dtype: DType) -> bool:
    """Whether ONNX has an element type for a numpy dtype."""
    return dtype in _TO_ONNX or dtype.kind in "US"


def stored_bytes(code: int, elements: int) -> int | None:
    """Bytes that `elements` of type `code` take in `raw_data` (IR specification: sub-byte types are packed).

    None for strings, which are never stored raw, and for types this installation does not know.
    """
    if code in _BITS:
        return (elements * _BITS[code] + 7) // 8
    dtype = _TO_NUMPY.get(code)
    return None if dtype is None or dtype == STRING else elements * dtype.itemsize
