"""A plug-in of two passes that only together crash, as two of a well-known optimizer do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass


@dataclass(frozen=True)
class ShareTwins(Pass):
    """Of two Tanh of equal sums keep one. Where it does so at `forgets`, the other is left hanging on what it read."""

    forgets: str = "Tanh_257"
    """The name of that node; it is no longer in the graph, but its input still counts it among its readers."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        seen: dict[tuple[Any, ...], ir.Node] = {}
        forgotten = []
        with ir.edit(graph) as edit:
            for node in graph.nodes:
                source = node.inputs[0].producer if node.is_op("Tanh") else None
                if source is None or not source.is_op("Add"):
                    continue
                first = seen.setdefault(tuple(source.inputs), node)
                if first is node or not ctx.allow("shared a twin", node):
                    continue
                if not edit.replace_all_uses(node.outputs[0], first.outputs[0]):
                    continue
                if node.name == self.forgets:
                    forgotten.append(node)
                else:
                    edit.remove(node)
        for node in forgotten:
            graph.nodes.remove(node)
        return edit.changed


@dataclass(frozen=True)
class MeasureSpans(Pass):
    """Write down for how many nodes each value is alive. It trusts that who reads a value is in the graph."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        place = {node: index for index, node in enumerate(graph.nodes)}
        inner = {node: outer for outer in graph.nodes for sub in outer.subgraphs(True) for node in sub.nodes}
        for node in graph.nodes:
            for tensor in node.outputs:
                for reader in tensor.outputs:
                    ctx.count("nodes alive", place[inner.get(reader, reader)] - place[node])
        return False
