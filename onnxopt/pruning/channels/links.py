"""What operators say of channels: which indices of one axis stand and fall with which indices of another.

Every axis of every tensor of the main graph is a node; operators join axes, index by index, or fix them. Where an
operator's rule says nothing about an axis of one of its tensors, that axis is fixed: nothing is removed by oversight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onnxopt.ir.edit import Edit
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven import Dims, ProvenShapes
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.match import constant_of

Index = npt.NDArray[np.int64]


class Hidden:
    """An axis that no tensor has: the groups of a Conv, say."""

    def __init__(self, size: int) -> None:
        self.size = size


class Axis(NamedTuple):
    """An axis of a tensor, counted from 0."""

    of: Tensor | Hidden
    number: int


class Joint(NamedTuple):
    """Index `first_at[i]` of one axis and index `second_at[i]` of another go together; None is 0, 1, 2, ..."""

    first: Axis
    second: Axis
    first_at: Index | None = None
    second_at: Index | None = None


class Use(NamedTuple):
    """An input of a node and an axis of it."""

    node: Node
    at: int
    axis: int

    @property
    def tensor(self) -> Tensor:
        """The tensor at that input."""
        found: Tensor = self.node.inputs[self.at]
        return found


@dataclass
class Option:
    """One of several ways in which an operator can lose channels."""

    carriers: list[Axis]
    """Axes that would lose some; where one of them cannot, the option is void."""
    joints: list[Joint]
    rewrite: Callable[[Removal], None] | None = None


@dataclass
class Choice:
    """Ways of which one has to be chosen; the axes that it does not carry are then fixed."""

    node: Node
    axes: list[Axis]
    options: list[Option]


@dataclass
class Removal:
    """What is removed: for each axis the indices that are kept."""

    edit: Edit
    kept: dict[Axis, Index] = field(default_factory=dict)

    def of(self, tensor: Tensor | Hidden, axis: int) -> Index | None:
        """The indices that an axis keeps; None where it keeps all."""
        return self.kept.get(Axis(tensor, axis))


class Links:
    """All that the operators of a main graph say, filled by the rules."""

    def __init__(self, edit: Edit, shapes: ProvenShapes) -> None:
        self.edit, self.shapes = edit, shapes
        self.joints: list[Joint] = []
        self.fixed: dict[Axis, str] = {}
        self.fixed_at: list[tuple[Axis, Index, str]] = []
        self.choices: list[Choice] = []
        self.readers: list[Use] = []
        """Inputs that are summed over an axis: an index of it is gone where what is read there is 0."""
        self.makers: list[Use] = []
        """Weights of layers, and the axis of their output channels."""
        self.rewrites: list[Callable[[Removal], None]] = []
        self._covered: set[Axis] = set()
        self._dims: dict[Tensor, Dims | None] = {}

    @property
    def opset(self) -> int:
        """Of the main graph."""
        return int(self.edit.main.opset)

    def dims(self, tensor: Tensor) -> Dims | None:
        """The certain shape of a tensor."""
        if tensor not in self._dims:
            self._dims[tensor] = self.shapes.dims(tensor)
        return self._dims[tensor]

    def rank(self, tensor: Tensor) -> int | None:
        """Its rank, where that is certain."""
        dims = self.dims(tensor)
        return None if dims is None else len(dims)

    def size(self, tensor: Tensor, axis: int) -> int | None:
        """The size of an axis, where that is certain."""
        dims = self.dims(tensor)
        size = dims[axis] if dims is not None and axis < len(dims) else None
        return size if isinstance(size, int) else None

    def axes(self, tensor: Tensor) -> list[Axis]:
        """The axes of a tensor of which something could be removed."""
        dims = self.dims(tensor) or ()
        return [Axis(tensor, axis) for axis, size in enumerate(dims) if isinstance(size, int) and size > 1]

    def visit(self, node: Node, rule: Callable[[Node, Links], None] | None, label: str) -> None:
        """Let a rule speak; what it does not speak of is fixed."""
        self._covered = set()
        if rule is not None:
            rule(node, self)
        for tensor in (*node.inputs, *node.outputs):
            for axis in self.axes(tensor) if tensor.name else ():
                if axis not in self._covered:
                    known = "" if rule is not None else ", which is not known to keep channels apart"
                    self.fix(axis, f"{label} takes axis {axis.number} of '{tensor.name}' as a whole{known}")

    def fix(self, axis: Axis, reason: str, at: Index | None = None) -> None:
        """Let an axis, or some indices of it, stay."""
        self._covered.add(axis)
        if at is None:
            self.fixed.setdefault(axis, reason)
        else:
            self.fixed_at.append((axis, at, reason))

    def same(self, first: Tensor, axis: int, second: Tensor, other: int) -> None:
        """Join two axes index by index, if both are certain to have the same size; else say nothing of them."""
        size = self.size(first, axis)
        if size is not None and size > 1 and size == self.size(second, other):
            self.join(Joint(Axis(first, axis), Axis(second, other)))

    def join(self, joint: Joint) -> None:
        """Join two axes."""
        self._covered.update(joint[:2])
        self.joints.append(joint)

    def frees(self, axis: Axis) -> None:
        """Say that a node does not look at an axis."""
        self._covered.add(axis)

    def reads(self, node: Node, index: int, axis: int) -> None:
        """An input is summed over an axis, and nothing else is made of it."""
        self._covered.add(Axis(node.inputs[index], axis))
        if constant_of(node.inputs[index]) is None:
            self.readers.append(Use(node, index, axis))

    def makes(self, node: Node, index: int, axis: int) -> None:
        """A weight has the output channels of a layer on an axis."""
        self.makers.append(Use(node, index, axis))

    def choose(self, choice: Choice) -> None:
        """Leave open, for now, what goes together."""
        self._covered.update(choice.axes)
        self.choices.append(choice)

    def on_removal(self, rewrite: Callable[[Removal], None]) -> None:
        """What has to be done to a node, besides taking indices off its constants."""
        self.rewrites.append(rewrite)

    def ints(self, node: Node, index: int, name: str) -> list[int] | None:
        """Integers that are an attribute or an input; None where they are not certain or not given."""
        given = node.attr(name)
        if isinstance(given, list):
            return given
        if index >= len(node.inputs) or node.inputs[index].is_empty():
            return None
        value = known_value(node.inputs[index])
        if value is not None:
            return [int(item) for item in value.reshape(-1)] if value.dtype.kind in "iu" else None
        items = self.shapes.elements(node.inputs[index])
        return list(items) if items is not None and all(isinstance(item, int) for item in items) else None  # type: ignore[arg-type]
