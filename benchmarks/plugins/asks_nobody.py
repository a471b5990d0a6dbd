"""A plug-in that spoils a weight and asks nobody."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass


@dataclass(frozen=True)
class SilentFault(Pass):
    """Double the weights of the last Conv, without `ctx.allow`."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        weight = [node for node in graph.nodes if node.is_op("Conv")][-1].inputs[1]
        weight.values = 2 * weight.read()
        return True
