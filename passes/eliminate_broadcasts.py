"""`eliminate-broadcasts`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import Dim, Dims, ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.identities.arithmetic import is_neutral
from onnxopt.rules.movement.elementwise import BROADCASTING, UNARY, data_operands
from onnxopt.rules.movement.rewriting import NO_INITIALIZERS, may_have_constants, nodes_of

_REPEATERS = frozenset({"ConstantOfShape", "Expand", "Tile"})
_NEUTRAL = frozenset({"Add", "And", "Div", "Mul", "Or", "Sub", "Xor"})
"""With a constant that changes no number, these only broadcast."""
_OPERATORS = BROADCASTING - {"Pow"}
"""onnxruntime raises to a power that is one number in another way than to powers that happen to be equal."""
_READERS = frozenset({*BROADCASTING, *UNARY, "Expand"})
_BROADCAST_FROM = 8
"""The opset since which all these operators broadcast, and Expand exists."""
_MANY = 64
"""Readers, and elementwise nodes after one another, that are followed."""


@dataclass(frozen=True)
class EliminateBroadcasts(Pass):
    """Remove Expand, Tile and ConstantOfShape where those who read the result broadcast by themselves.

    Add, Mul, Where, Equal, another Expand and the like do. All readers must, or be elementwise nodes before such ones;
    and the shape that they give out must stay: where the node that goes made a dimension larger, another operand has
    that dimension for certain. What ConstantOfShape fills a tensor with becomes a constant of one element. A node whose
    other operand changes no number, And with a larger tensor of true, goes likewise.

    MatMul is left alone: of a broadcast operand, it computes in another order. In every scope.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        purity = Purity(graph)
        found = [node for node, opset in nodes_of(graph, _REPEATERS, purity) if opset >= _BROADCAST_FROM]
        readers = {node for node, opset in nodes_of(graph, _READERS, purity) if opset >= _BROADCAST_FROM}
        neutral = [node for node in readers if node.op in _NEUTRAL and _constant_side(node) is not None]
        if not found and not neutral:
            return False
        with ir.edit(graph) as edit:
            work = _Work(edit, ctx, ctx.analysis(ProvenShapes, graph), readers)
            left = [*found, *neutral]
            while True:  # what one leaves smaller, another may be read beside
                verdicts = {node: work.visit(node) for node in left}
                left = [node for node, verdict in verdicts.items() if verdict is not True]
                if len(left) == len(verdicts):
                    break
            for node, verdict in verdicts.items():
                if isinstance(verdict, str):
                    ctx.refuse(verdict, node)
        return edit.changed


@dataclass(frozen=True)
class _Work:
    edit: ir.Edit
    ctx: Context
    shapes: ProvenShapes
    readers: set[ir.Node]
    moved: dict[ir.Tensor, Dims] = field(default_factory=dict)
    """Dimensions of what is computed from smaller tensors now."""

    def _dims(self, tensor: ir.Tensor) -> Dims | None:
        return self.moved[tensor] if tensor in self.moved else self.shapes.dims(tensor)

    def visit(self, node: ir.Node) -> bool | str:
        """Remove a node if that changes nothing; return whether it went, or why not of a near match."""
        output, source = node.outputs[0], self._source(node)
        large = self._dims(output)
        small = None if source is None else self._dims(source)
        if source is None or large is None or small is None or small == large or not self.edit.is_used(output):
            return False
        chain: list[ir.Tensor] = []
        if not self._only_repeats(node, small, large) or not self._all_broadcast(output, chain, len(small)):
            return False
        if node.op in _NEUTRAL and not _changes_nothing(node):
            return False
        shrunk = {output, *chain}
        for tensor in (output, *chain):
            for reader in self._readers_of(tensor):
                passes_on = reader.outputs[0] in chain
                if not passes_on and not self._keeps_shape(reader, shrunk, small, large):
                    return f"'{reader.outputs[0].name}' might have another shape"
        if node.op == "ConstantOfShape" and not may_have_constants(self.edit, node):
            return NO_INITIALIZERS
        if not self.ctx.allow("removed: all that read it broadcast by themselves", node):
            return False
        self._remove(node, source, chain, small)
        return True

    def _source(self, node: ir.Node) -> ir.Tensor | None:
        """What a node gives out, larger."""
        if node.op == "ConstantOfShape":
            return _filling(node)
        side = _constant_side(node) if node.op in _NEUTRAL else 1
        return None if side is None else node.inputs[1 - side]

    def _only_repeats(self, node: ir.Node, small: Dims, large: Dims) -> bool:
        """Whether each dimension is kept, or made larger from 1: Tile may repeat any."""
        if node.op != "Tile":
            return True
        return len(small) == len(large) and all(a in (1, b) for a, b in zip(small, large, strict=True))

    def _readers_of(self, tensor: ir.Tensor) -> list[ir.Node]:
        return [reader for reader in dict.fromkeys(tensor.outputs) if tensor in reader.inputs]

    def _all_broadcast(self, output: ir.Tensor, chain: list[ir.Tensor], rank: int) -> bool:
        """Whether all readers broadcast, or are elementwise before such ones; `chain` gets the outputs of those."""
        pending = [output]
        while pending:
            tensor = pending.pop()
            if self.edit.is_output(tensor) or len(tensor.outputs) > _MANY or len(chain) > _MANY:
                return False
            for reader in self._readers_of(tensor):
                if reader not in self.readers or not self.edit.is_used(reader.outputs[0]):
                    return False
                operands = data_operands(reader)
                if operands is not None and operands[0] == [tensor] and operands[1] <= rank:
                    chain.append(reader.outputs[0])
                    pending.append(reader.outputs[0])
                elif reader.op not in _OPERATORS and (reader.op != "Expand" or tensor in reader.inputs[1:]):
                    return False
        return True

    def _keeps_shape(self, reader: ir.Node, shrunk: set[ir.Tensor], small: Dims, large: Dims) -> bool:
        """Whether a reader gives out the same shape if those tensors are as small as that."""
        out = self._dims(reader.outputs[0])
        others: list[Sequence[int | Dim | None]] = []
        if reader.op == "Expand":
            target = self.shapes.elements(reader.inputs[1])
            others += [] if target is None else [target]
        else:
            dims = [self._dims(other) for other in reader.inputs if other not in shrunk]
            others += [known for known in dims if known is not None]
        if out is None or max(len(small), *map(len, others), 0) < len(out):
            return False
        for back in range(1, len(large) + 1):
            same = back <= len(small) and small[-back] == large[-back]
            if not same and large[-back] != 1 and not any(len(o) >= back and o[-back] == out[-back] for o in others):
                return False
        return True

    def _remove(self, node: ir.Node, source: ir.Tensor, chain: list[ir.Tensor], small: Dims) -> None:
        output = node.outputs[0]
        if not source.name:  # new
            source.name = self.edit.fresh(f"{node.name or output.name}_value")
        for tensor in chain:
            self.moved[tensor] = small
            if tensor.shape is not None:
                tensor.shape = None if source.shape is None else list(source.shape)
        for reader in self._readers_of(output):
            for index, tensor in enumerate(reader.inputs):
                if tensor is output:
                    self.edit.replace_input(reader, index, source)
        self.edit.remove(node)


def _filling(node: ir.Node) -> ir.Constant | None:
    """What a ConstantOfShape fills its output with; None where the caller of a function says it."""
    value = node.attr("value")
    if value is None:
        return ir.Constant("", np.zeros((), np.float32))
    array = known_value(value) if isinstance(value, ir.Constant) else None
    return None if array is None or array.size != 1 else ir.Constant("", array.reshape(()).copy())


def _constant_side(node: ir.Node) -> int | None:
    """The operand of two that is a constant and might make the other one larger; nothing is read."""
    if len(node.inputs) != 2:
        return None
    sides = [index for index, tensor in enumerate(node.inputs) if isinstance(tensor, ir.Constant) and tensor.shape]
    if len(sides) != 1 or (sides[0] == 0 and node.op in ("Div", "Sub")):
        return None
    return sides[0]


def _changes_nothing(node: ir.Node) -> bool:
    side = _constant_side(node)
    value = None if side is None else known_value(node.inputs[side])
    return value is not None and value.size > 0 and is_neutral(node.op, value) is True
