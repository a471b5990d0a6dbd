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
    declaration that contradicts what follows is corrected; one of a model output is the interface, and stays. Values in
    the bodies of local functions have no one shape and are left alone.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Declare what was found, value by value."""
        inference = infer(graph)
        wrong = {contradiction.tensor: contradiction for contradiction in inference.contradictions}
        warnings = []
        changed = False
        for tensor, facts in inference.found.items():
            corrects = tensor in wrong and not wrong[tensor].is_interface
            if ctx.allow(f"{'correct' if corrects else 'declare'} '{tensor.name}' as {facts}", tensor.producer or ""):
                inference.declare(tensor)
                changed = True
                ctx.count("values declared")
                if corrects:
                    ctx.count("declarations corrected")
                    warnings.append(f"{wrong[tensor]}: corrected")
        _warn(warnings, ctx)
        _warn([_refuse(kept, ctx) for kept in wrong.values() if kept.is_interface], ctx)
        _warn(inference.problems, ctx)
        return changed


def _refuse(contradiction: Contradiction, ctx: Context) -> str:
    reason = f"{contradiction}: kept, for it is the interface"
    ctx.refuse(reason, contradiction.tensor.producer)
    return reason


def _warn(lines: list[str], ctx: Context) -> None:
    for line in lines[:_SHOWN]:
        ctx.warn(line)
    if len(lines) > _SHOWN:
        ctx.warn(f"... and {len(lines) - _SHOWN} more like it")
