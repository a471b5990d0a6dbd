"""The cheapest nodes that compute a vector of symbolic dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

import numpy as np

from onnxopt import ir
from onnxopt.ir.proven import Dim, ProvenShapes

Elements = tuple[int | Dim, ...]
_SLICED_FROM = 15
"""The opset since which Shape takes `start` and `end`."""
_FEW = 32
"""A tensor with more readers than this is not looked at for whether all of them would go."""
_INT64 = np.dtype(np.int64)


@dataclass(frozen=True)
class Place:
    """A part of a shape or of a vector, which can be read from a node on."""

    tensor: ir.Tensor
    start: int
    end: int
    since: int
    kind: Literal["shape", "vector", "element"] = "vector"
    whole: bool = True
    """Whether it is all of the shape."""


@dataclass
class Recipe:
    """How to compute a vector from what is there; nothing of it is in the graph yet."""

    parts: list[Place | list[int]] = field(default_factory=list)
    """Joined by Concat, where there are several."""

    @property
    def reads(self) -> list[ir.Tensor]:
        """What has to stay for it."""
        return [part.tensor for part in self.parts if isinstance(part, Place)]

    @property
    def nodes(self) -> int:
        """How many nodes it takes."""
        made = sum(isinstance(part, Place) and part.kind != "vector" for part in self.parts)
        return made + (len(self.parts) > 1)

    def make(self, node: ir.Node, output: ir.Tensor, fresh: Callable[[str], str]) -> tuple[list[ir.Node], ir.Tensor]:
        """The nodes, and the tensor that stands for `output` of `node`."""
        nodes: list[ir.Node] = []
        parts = [self._part(part, output.name, nodes, fresh) for part in self.parts]
        result = parts[0]
        if len(parts) > 1:
            result = ir.Variable(fresh(output.name), _INT64, [sum(map(_length, self.parts))])
            nodes.append(ir.Node("Concat", "", {"axis": 0}, parts, [result]))
        for made in nodes[:-1]:
            made.name = fresh(node.name) if node.name else ""
        if nodes:
            nodes[-1].name = node.name
        return nodes, result

    def _part(self, part: Place | list[int], name: str, nodes: list[ir.Node], fresh: Callable[[str], str]) -> ir.Tensor:
        if isinstance(part, list):
            return ir.Constant(fresh(name), np.array(part, np.int64))
        if part.kind == "vector":
            return part.tensor
        if part.kind == "element":
            index = ir.Constant(fresh(name), np.array(part.start, np.int64))
            made = ir.Variable(fresh(name), _INT64, [])
            nodes.append(ir.Node("Gather", "", {"axis": 0}, [part.tensor, index], [made]))
            return made
        made = ir.Variable(fresh(name), _INT64, [_length(part)])
        attrs = {} if part.whole else {"start": part.start, "end": part.end}
        nodes.append(ir.Node("Shape", "", attrs, [part.tensor], [made]))
        return made


def _length(part: Place | list[int]) -> int:
    return len(part) if isinstance(part, list) else part.end - part.start


class Sources:
    """From what, and since which node, the graph of one scope can compute dimensions."""

    def __init__(self, scope: ir.Graph, shapes: ProvenShapes, constants: bool) -> None:
        self.shapes, self.constants = shapes, constants
        """Whether a constant is no node."""
        self._sliced = scope.opset >= _SLICED_FROM
        self._shaped: dict[Elements, Place] = {}
        """Tensors of which these are consecutive dimensions."""
        self._vectors: dict[Elements, Place] = {}
        """Vectors of int64 of just these elements."""
        self._elements: dict[Dim, Place] = {}
        """Vectors of int64 that have this element."""

    def shaped(self, tensor: ir.Tensor, since: int) -> None:
        """The dimensions of a tensor may be asked for."""
        dims = self.shapes.dims(tensor) or ()
        for start in range(len(dims)):
            for end in range(start + 1, len(dims) + 1):
                if self._sliced or end - start == len(dims):
                    self._shaped.setdefault(
                        dims[start:end], Place(tensor, start, end, since, "shape", end - start == len(dims))
                    )

    def vector(self, tensor: ir.Tensor, elements: Elements, since: int) -> None:
        """A vector of int64 is there."""
        self._vectors.setdefault(elements, Place(tensor, 0, len(elements), since))
        for index, element in enumerate(elements):
            if isinstance(element, Dim):
                self._elements.setdefault(element, Place(tensor, index, index + 1, since, "element"))

    def scalar(self, element: int | Dim, before: int) -> Recipe | None:
        """How to compute a scalar by one Gather."""
        place = self._elements.get(element) if isinstance(element, Dim) else None
        if place is None or place.since >= before or not self.constants:
            return None
        return Recipe([place])

    def recipe(self, elements: Elements, before: int) -> Recipe | None:
        """How to compute a vector; None where some part of it cannot be had."""
        found = Recipe()
        place = 0
        while place < len(elements):
            part = self._part(elements[place:], before)
            if part is None or (isinstance(part, list) and not self.constants):
                return None
            found.parts.append(part)
            place += _length(part)
        return found

    def _part(self, rest: Elements, before: int) -> Place | list[int] | None:
        """The longest part that the rest begins with."""
        numbers = list(takewhile(lambda item: isinstance(item, int), rest))
        if numbers:
            return numbers  # type: ignore[return-value]
        for length in range(len(rest), 0, -1):
            for known in (self._vectors.get(rest[:length]), self._shaped.get(rest[:length])):
                if known is not None and known.since < before:
                    return known
        return None


def cone(tensor: ir.Tensor, kept: list[ir.Tensor], edit: ir.Edit, removable: Callable[[ir.Node], bool]) -> set[ir.Node]:
    """The nodes that nobody would need if nobody read `tensor`, but `kept` were read."""
    gone: set[ir.Node] = set()
    stays = {other.producer for other in kept}
    pending = [tensor.producer]
    while pending:
        node = pending.pop()
        if node is None or node in gone or node in stays or not removable(node):
            continue
        if node is tensor.producer or all(_is_unread(output, gone, edit) for output in node.outputs):
            gone.add(node)
            pending += [source.producer for source in node.inputs]
    return gone


def _is_unread(tensor: ir.Tensor, gone: set[ir.Node], edit: ir.Edit) -> bool:
    if not tensor.name or not edit.is_used(tensor):
        return True
    return not edit.is_output(tensor) and len(tensor.outputs) <= _FEW and all(node in gone for node in tensor.outputs)
