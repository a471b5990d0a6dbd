"""What it takes to let a node work in another layout, and what rules may ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.proven import Dims, ProvenShapes
from onnxopt.ir.tensor import Tensor
from onnxopt.layout.permutation import Perm
from onnxopt.linear.match import constant_of

Apply = Callable[[Edit, Node], None]


@dataclass(frozen=True)
class Move:
    """How a node computes the same from transposed tensors.

    Where an input or output has a permutation p, what the node had there is `Transpose(t, p)` of the tensor t that it
    has after the move; None where it stays as it is.
    """

    inputs: tuple[Perm | None, ...]
    outputs: tuple[Perm | None, ...] = ()
    apply: Apply | None = None
    """Changes attributes and constant inputs."""


@dataclass(frozen=True)
class Arrival:
    """Where a permutation reaches a node."""

    perm: Perm
    index: int
    is_input: bool


class Facts:
    """What rules may ask about the graph; shapes are certain ones only."""

    def __init__(self, edit: Edit, shapes: ProvenShapes, *, exact: bool) -> None:
        self.edit = edit
        self.exact = exact
        """Whether sums of floats have to keep their order."""
        self._shapes = shapes
        self._made: dict[Tensor, Dims | None] = {}

    def dims(self, tensor: Tensor) -> Dims | None:
        """A number or an expression for each dimension; None where not even the rank is certain."""
        if tensor in self._made:
            return self._made[tensor]
        return self._shapes.dims(tensor)

    def shape(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        """A number for each dimension, or None where it is not certain."""
        if tensor not in self._made:
            return self._shapes.shape(tensor)
        dims = self._made[tensor]
        return None if dims is None else tuple(dim if isinstance(dim, int) else None for dim in dims)

    def rank(self, tensor: Tensor) -> int | None:
        """The number of dimensions."""
        constant = constant_of(tensor)
        shape = self.shape(tensor) if constant is None else constant.shape
        return None if shape is None else len(shape)

    def learn(self, tensor: Tensor, source: Tensor, perm: Perm) -> None:
        """Take note of a tensor that was made in this session, the Transpose of another."""
        dims = self.dims(source)
        self._made[tensor] = None if dims is None or len(dims) != len(perm) else tuple(dims[axis] for axis in perm)


Rule = Callable[[Node, Arrival, Facts, int], Move | None]
"""Of a node, what reaches it, the facts and the opset: how it moves, or None where its operator cannot.

Raises:
    NoMatch: It nearly can; the text says what is in the way.
"""
