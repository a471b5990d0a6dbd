"""Declare the type and shape of every value."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.shapes import Contradiction, infer
from onnxopt.pipeline.base import Context, Pass

_SHOWN = 5
"""Warnings of one kind; a file with one stale declaration usually has hundreds."""


@dataclass(frozen=True)
class InferShapes(Pass):
    """Declare the type and shape of every value of the graph and its subgraphs, as far as they can be known.

    What follows from the model's inputs and operators comes first, then what the file declares; symbols are kept. A
    declaration that contradicts what follows is corrected, each a rewrite; one of a model output is the interface, and
    stays. What nothing contradicts is one rewrite together. Values in the bodies of local functions have no one shape
    and are left alone.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Declare what was found."""
        inference = infer(graph)
        wrong = {contradiction.tensor: contradiction for contradiction in inference.contradictions}
        corrected = [tensor for tensor in inference.found if tensor in wrong and not wrong[tensor].is_interface]
        new = [tensor for tensor in inference.found if tensor not in wrong or wrong[tensor].is_interface]
        declared = new if new and ctx.allow(f"declare {len(new)} values", graph.name) else []
        warnings = []
        for tensor in corrected:
            if ctx.allow(f"correct '{tensor.name}' to {inference.found[tensor]}", tensor.producer or ""):
                declared.append(tensor)
                ctx.count("declarations corrected")
                warnings.append(f"{wrong[tensor]}: corrected")
        for tensor in declared:
            inference.declare(tensor)
        if declared:
            ctx.count("values declared", len(declared))
        _warn(warnings, ctx)
        _warn([_refuse(kept, ctx) for kept in wrong.values() if kept.is_interface], ctx)
        _warn(inference.problems, ctx)
        return bool(declared)


def _refuse(contradiction: Contradiction, ctx: Context) -> str:
    reason = f"{contradiction}: kept, for it is the interface"
    ctx.refuse(reason, contradiction.tensor.producer)
    return reason


def _warn(lines: list[str], ctx: Context) -> None:
    for line in lines[:_SHOWN]:
        ctx.warn(line)
    if len(lines) > _SHOWN:
        ctx.warn(f"... and {len(lines) - _SHOWN} more like it")
