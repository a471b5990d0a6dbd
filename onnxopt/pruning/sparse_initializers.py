"""Weights as sparse initializers, where that takes fewer bytes."""

from __future__ import annotations

import numpy as np
from onnx import SparseTensorProto, numpy_helper

from onnxopt import ir
from onnxopt.ir.values import Array, SparseValues
from onnxopt.pruning.zeros import stored_weights

SINCE = 6
"""The IR version that sparse initializers came with."""
_TYPES = tuple(map(np.dtype, (np.float16, np.float32, np.float64, np.int8, np.uint8)))
"""Of which onnxruntime 1.31 was seen to read them."""
_INDEX = 8
"""Bytes of an index."""


def sparsified(graph: ir.Graph) -> tuple[ir.Graph, dict[str, int]]:
    """A copy of a main graph where weights of layers are sparse, and the bytes that each saves, by name.

    A weight becomes sparse where it then takes fewer bytes: each value that is not zero needs an int64 index (ONNX,
    SparseTensorProto: linear indices of shape [NNZ], ascending), so that it pays for float32 from two thirds of zeros
    on, for int8 from eight ninths. Only initializers; every bit stays, that of -0.0 too.
    """
    copy = graph.copy()
    saved: dict[str, int] = {}
    for weight in stored_weights(copy):
        constant = weight.constant
        if not len(constant.outputs) or constant.dtype not in _TYPES or isinstance(constant._values, SparseValues):
            continue
        values = constant.read()
        where = _places(values)
        if where.size * (values.dtype.itemsize + _INDEX) >= values.nbytes:
            continue
        sparse = _sparse(constant.name, values, where)
        gain = numpy_helper.from_array(values, constant.name).ByteSize() - sparse.ByteSize()
        if gain > 0:
            constant._values = SparseValues(sparse)
            saved[constant.name] = gain
    return copy, saved


def _places(values: Array) -> Array:
    """The linear indices of what is not zero to the bit."""
    bits = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    return np.flatnonzero(bits).astype(np.int64)


def _sparse(name: str, values: Array, where: Array) -> SparseTensorProto:
    held = numpy_helper.from_array(values.reshape(-1)[where], name)
    return SparseTensorProto(values=held, indices=numpy_helper.from_array(where), dims=values.shape)
