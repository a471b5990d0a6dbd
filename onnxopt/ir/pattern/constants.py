"""Constants in patterns."""

from __future__ import annotations

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.known import known_value
from onnxopt.ir.pattern.terms import Known
from onnxopt.ir.tensor import Constant, Tensor, Variable

_NUMBERS = "fiuV"
"""Kinds of element types: floats, integers, and those of ml_dtypes."""
_COMPARED = 1024
"""Bytes up to which two constants are compared by content."""


def is_constant(tensor: Tensor) -> bool:
    """Whether a tensor is an initializer or what a Constant node gives out; nothing is read."""
    return isinstance(tensor, Constant) or (tensor.producer is not None and tensor.producer.is_op("Constant"))


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or small constants of equal type, shape and bits."""
    if one is other:
        return True
    if not is_constant(one) or not is_constant(other):
        return False
    first, second = known_value(one, _COMPARED), known_value(other, _COMPARED)
    if first is None or second is None or first.nbytes > _COMPARED:
        return False
    return bool(first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes())


def why_not(term: Known, tensor: Tensor) -> Callable[[], str] | None:
    """Why a tensor is not the constant that a pattern asks for; None where it is."""
    if not is_constant(tensor):
        return lambda: _not_constant(tensor)
    if term.number is None and term.accepts is None and not term.single:
        return None
    expected = "one number" if term.number is None else f"{term.number:g}"
    if term.single and isinstance(tensor, Constant) and math.prod(tensor.shape) != 1:
        return lambda: f"'{tensor.name}' has {math.prod(tensor.shape)} elements, where {expected} is expected"
    value = known_value(tensor)
    if value is None:
        return lambda: f"the value of '{tensor.name}' is not known"
    if term.single and (value.size != 1 or value.dtype.kind not in _NUMBERS):
        return lambda: f"'{tensor.name}' is {_shown(value)}, where {expected} is expected"
    if term.number is not None:
        if is_number(value.reshape(-1)[0], term.number):
            return None
        return lambda: f"'{tensor.name}' is {_shown(value)}, where {expected} is expected"
    if term.accepts is None or term.accepts(value):
        return None
    return lambda: f"'{tensor.name}' is {_shown(value)}, which is not what is expected"


def is_number(element: np.generic, number: float) -> bool:
    """Whether an element is a number up to the rounding of its own type."""
    return abs(float(element) - number) <= epsilon(element.dtype) * abs(number)


def epsilon(dtype: DType) -> float:
    """The distance from 1 to the next number of a type; 0 for integers."""
    if dtype.kind in "iu":
        return 0.0
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def _not_constant(tensor: Tensor) -> str:
    if isinstance(tensor, Variable) and tensor.default is not None:
        return f"'{tensor.name}' may be overridden by the caller"
    return f"'{tensor.name}' is not constant"


def _shown(value: np.ndarray) -> str:
    return f"{value.reshape(-1)[0]}" if value.size == 1 else f"of shape {list(value.shape)}"
