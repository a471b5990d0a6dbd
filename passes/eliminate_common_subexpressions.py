"""`eliminate-common-subexpressions`."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Hashable
from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.purity import Purity
from onnxopt.ir.sameness import Sameness
from onnxopt.pipeline.base import Context, Pass, describe

_SEES_OUTSIDE = ("If", "Loop", "Scan")
_STAYS_INSIDE = ("Cast", "Constant")
"""A Constant costs nothing where it is, and shape inference sees no outer values. Of a Cast that a body reads from the
graph around it onnxruntime may lose track, when it drops a pair of them, its optimizations off too (1.31)."""

Table = ChainMap[Hashable, ir.Node]
"""The first node of each key: those of a scope, then those around it that it can see."""


@dataclass(frozen=True)
class EliminateCommonSubexpressions(Pass):
    """Compute equal nodes once: the same operator, attributes and inputs.

    Value numbering, linear in the nodes, which stand in topological order. In every scope; a node in the body of an If,
    Loop or Scan also gives way to an equal one that stands before the body in the graph around it, Casts and Constants
    apart. Never merged: random operators, a Dropout that may be training, operators of domains that are not known here,
    nodes that hold a graph (two equal Ifs stay two), nodes of sibling bodies. Equal initializers up to 1 KiB count as
    one input, larger ones where they are the same bytes of one file. Operands of Add, Mul, Equal and logical operators
    may stand in either order.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        with ir.edit(graph) as edit:
            numbering = _Numbering(graph, edit, ctx)
            for root in (graph, *graph.functions):
                numbering.scope(root, ChainMap())
        return edit.changed


class _Numbering:
    def __init__(self, graph: ir.Graph, edit: ir.Edit, ctx: Context) -> None:
        self.edit, self.ctx = edit, ctx
        self.purity = Purity(graph)
        self.sameness = Sameness()

    def scope(self, scope: ir.Graph, seen: Table) -> None:
        """Merge the nodes of one scope, and at its place each of the subgraphs, with those seen before."""
        for node in scope.nodes:
            if node.attrs:
                outside: Table = seen if node.is_op(*_SEES_OUTSIDE) else ChainMap()
                for subgraph in node.subgraphs():
                    self.scope(subgraph, outside.new_child())
            if not self.purity.is_repeatable(node, scope.opset) or _is_placed(node):
                continue
            key = self.sameness.key(node, scope.opset)
            first = None if key is None else seen.setdefault(key, node)
            if first is None or first is node:
                continue
            if node.is_op(*_STAYS_INSIDE) and key not in seen.maps[0]:
                seen[key] = node
                self._equate(node, first)
            else:
                self._merge(node, first)

    def _equate(self, node: ir.Node, first: ir.Node) -> list[tuple[ir.Tensor, ir.Tensor]]:
        """Let whatever reads the one compute the same as what reads the other, even if both stay."""
        pairs = [(old, new) for old, new in zip(node.outputs, first.outputs, strict=True) if old.name]
        for old, new in pairs:
            self.sameness.equate(old, new)
        return pairs

    def _merge(self, node: ir.Node, first: ir.Node) -> None:
        pairs = self._equate(node, first)
        reason = next((reason for old, new in pairs if (reason := self.edit.obstacle(old, new))), None)
        if reason is not None:
            self.ctx.refuse(f"equal to {describe(first)}, but {reason}", node)
        elif self.ctx.allow(f"merged with {describe(first)}", node):
            for old, new in pairs:
                self.edit.replace_all_uses(old, new)
            self.edit.remove(node)


def _is_placed(node: ir.Node) -> bool:
    """Whether the file says on which device a node runs."""
    return node.shell is not None and len(node.shell.device_configurations) > 0
