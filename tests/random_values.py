"""Tensors as the generator of `random_graphs` knows them: a name, a type, a shape with symbols in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ValueInfoProto, helper

Dim = int | str
Shape = tuple[Dim, ...]

FLOATS = ("float32", "float16", "float64")
INTS = ("int64", "int32")
ANY = (*FLOATS, *INTS, "bool")
COMPARISONS = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
COMMUTATIVE = ("Add", "Mul", "Max", "Min", "Equal")


def element_type(dtype: str) -> int:
    """ONNX's number of a numpy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def broadcast(one: Shape, other: Shape) -> Shape | None:
    """The shape of two tensors together; None where they do not go together, or not for certain."""
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    dims: list[Dim] = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            return None
        dims.append(b if a == 1 else a)
    return tuple(dims)


@dataclass(frozen=True)
class Value:
    """A tensor as the generator knows it."""

    name: str
    dtype: str
    shape: Shape

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def info(self, shape: Shape | None = None) -> ValueInfoProto:
        return helper.make_tensor_value_info(self.name, element_type(self.dtype), shape or self.shape)
