"""What the rules are given: the dimensions and the small vectors that are certain so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven.dim import Dim, lowest
from onnxopt.ir.tensor import Constant, Tensor

Dims = tuple[int | Dim, ...]
Open = tuple[int | Dim | None, ...]
"""Dimensions, or elements; None where one is not certain."""
Item = int | float | Dim | None
MOST_ELEMENTS = 64
FITS = 1 << 31
"""A number that was computed and does not fit 32 bits may have overflowed. Symbolic ones are taken to fit."""
_TRACKED = frozenset(map(np.dtype, ("int32", "int64", "bool", "float32", "float64")))


class Vector(NamedTuple):
    """The elements of a tensor of rank 0 or 1."""

    items: tuple[Item, ...]
    """Booleans are 0 and 1; floats are exact in `dtype`; symbolic ones are integers."""
    dtype: DType


class Facts:
    """What is certain of the tensors of a model."""

    def __init__(self, nonempty: bool) -> None:
        self._nonempty = nonempty
        self.asked = False
        """Whether `nonempty` was asked for since the sweep last said that it was not."""
        self.opset = 0
        """Of the scope that the sweep is in."""
        self.shapes: dict[Tensor, Dims] = {}
        self.vectors: dict[Tensor, Vector] = {}
        """Of what nodes compute; constants are read when a rule asks for them."""
        self.unread: dict[Tensor, Constant] = {}
        """Values of Constant nodes that few rules ask for."""
        self._read: dict[Constant, Vector | None] = {}

    @property
    def nonempty(self) -> bool:
        """Whether no dimension of an input is taken to be 0, where a Reshape would copy another dimension instead."""
        self.asked = True
        return self._nonempty

    def dims(self, node: Node, index: int) -> Dims | None:
        """The dimensions of an input; None where not even the rank is certain, or there is none."""
        return self.dims_of(node.inputs[index]) if index < len(node.inputs) else None

    def dims_of(self, tensor: Tensor) -> Dims | None:
        """The dimensions of a tensor; None where not even the rank is certain."""
        return tuple(tensor.shape) if isinstance(tensor, Constant) else self.shapes.get(tensor)

    def vector(self, tensor: Tensor) -> Vector | None:
        """The elements of a tensor."""
        found = self.vectors.get(tensor)
        if found is not None:
            return found
        value = tensor if isinstance(tensor, Constant) else self.unread.get(tensor)
        if value is None:
            return None
        if value not in self._read:
            self._read[value] = read_vector(value)
        return self._read[value]

    def may_follow(self, tensor: Tensor) -> bool:
        """Whether `vector` may know a tensor; nothing is read for the answer."""
        return tensor in self.vectors or isinstance(tensor, Constant) or tensor in self.unread

    def items(self, node: Node, index: int) -> tuple[Item, ...] | None:
        """The elements of an input."""
        vector = self.vector(node.inputs[index]) if index < len(node.inputs) else None
        return None if vector is None else vector.items

    def extents(self, node: Node, index: int, name: str) -> Open | None:
        """Integers that older opsets give as attribute `name` and newer ones as input `index`; None where not known.

        Where only their number is known they are as many None.
        """
        given = node.attrs.get(name)
        if given is not None:
            return tuple(given) if isinstance(given, list) else (given,) if isinstance(given, int) else None
        if not self.has(node, index):
            return None
        vector = self.vector(node.inputs[index])
        if vector is not None:
            return tuple(None if isinstance(item, float) else item for item in vector.items)
        dims = self.dims_of(node.inputs[index])
        if dims is None or len(dims) != 1 or not isinstance(dims[0], int) or dims[0] > MOST_ELEMENTS:
            return None
        return (None,) * dims[0]

    def ints(self, node: Node, index: int, name: str) -> tuple[int, ...] | None:
        """The same, where all of them are known numbers."""
        found = self.extents(node, index, name)
        if found is None:
            return None
        numbers = tuple(item for item in found if isinstance(item, int))
        return numbers if len(numbers) == len(found) else None

    def has(self, node: Node, index: int) -> bool:
        """Whether there is such an input."""
        return index < len(node.inputs) and bool(node.inputs[index].name)

    def at_least(self, extent: int | Dim | None, least: int) -> bool:
        """Whether something is certainly at least so much, of empty inputs too."""
        low = None if extent is None else lowest(extent)
        return low is not None and low >= least

    def may_be_taken_for(self, extent: int | Dim | None, least: int) -> bool:
        """The same, but for empty inputs where those are left out of account.

        Only for the target of a Reshape. What an operator cuts from an empty axis, or whether a dimension is 0, is
        asked by models that take empty inputs, and those get the right answer.
        """
        if extent is None or isinstance(extent, int):
            return extent is not None and extent >= least
        low = lowest(extent, self.nonempty)
        return low is not None and low >= least


def is_small_vector(constant: Constant) -> bool:
    """Whether a constant is a small vector or a scalar of a type that is followed."""
    shape = constant.shape
    return len(shape) < 2 and math.prod(shape) <= MOST_ELEMENTS and constant.dtype in _TRACKED


def read_vector(tensor: Constant) -> Vector | None:
    """The elements of a small constant vector; None of any other constant."""
    if not is_small_vector(tensor):
        return None
    value = known_value(tensor, MOST_ELEMENTS)
    if value is None:
        return None
    items = value.reshape(-1).tolist()
    return Vector(tuple(map(int, items)) if value.dtype.kind == "b" else tuple(items), value.dtype)


def int_of(node: Node, name: str, default: int | None = None) -> int | None:
    """An integer attribute; None where it is a function's parameter, or there is neither it nor a default."""
    value = node.attrs.get(name, default)
    return value if isinstance(value, int) else None


def ints_of(node: Node, name: str) -> list[int] | None:
    """An attribute that is a list of integers; None where there is none, or it is a function's parameter."""
    value = node.attrs.get(name)
    return value if isinstance(value, list) else None


def axis_in(axis: int | None, rank: int) -> int | None:
    """An axis, counted from the front; None where there is no such axis."""
    return None if axis is None or not -rank <= axis < rank else axis % rank


def unknown(rank: int) -> Open:
    """Dimensions of which nothing is certain but their number."""
    return (None,) * rank


def axes_in(axes: Sequence[int], rank: int) -> list[int] | None:
    """Axes, counted from the front; None where one of them does not exist."""
    found = [axis % rank for axis in axes if -rank <= axis < rank]
    return found if len(found) == len(axes) else None
