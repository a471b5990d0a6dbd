"""`infer-types`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.element_types import element_types
from onnxopt.pipeline.base import Context, Pass


@dataclass(frozen=True)
class InferTypes(Pass):
    """Declare the element type of every value that has none, by the operators' schemas.

    What many passes ask for before they act, at a small part of the time of `infer-shapes`, which also finds shapes,
    corrects declarations and asks onnx. In the main graph and its subgraphs.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        found = element_types(graph)
        if not found or not ctx.allow(f"declare the element types of {len(found)} values", graph.name):
            return False
        for tensor, dtype in found.items():
            tensor.dtype, tensor.type = dtype, "tensor_type"
        ctx.count("element types declared", len(found))
        return True
