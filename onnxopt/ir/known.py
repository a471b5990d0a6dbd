"""Values that are known before the model runs."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir import dtypes
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array

_SCALARS = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}


def known_value(tensor: Tensor, limit: int = 1 << 16) -> Array | None:
    """The value of a constant or of a Constant node's output, read-only.

    None where it is not known, has more than `limit` elements (so that no large weight is read), or is sparse. A graph
    input with a default is not known: the caller may override it.
    """
    if isinstance(tensor, Constant):
        return tensor.read() if math.prod(tensor.shape) <= limit else None
    node = tensor.producer
    if node is None or not node.is_op("Constant"):
        return None
    value = node.attr("value")
    if isinstance(value, Constant):
        return known_value(value, limit)
    for name, dtype in _SCALARS.items():
        found = node.attr(name)
        if isinstance(found, (int, float, list)) and np.size(found) <= limit:
            return np.array(found, dtype)
    for name in ("value_string", "value_strings"):
        found = node.attr(name)
        if isinstance(found, (str, bytes, list)) and np.size(found) <= limit:
            return np.array(found, dtypes.STRING)
    return None
