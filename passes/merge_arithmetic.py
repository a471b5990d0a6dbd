"""`merge-arithmetic`: Add, Sub, Mul, Div and Neg with constants in a row are written with fewer nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.linear.merge_scalars import STEPS, merge_from
from onnxopt.linear.powers import simplify_power
from onnxopt.pipeline.base import Context, Pass, Preserves

_OPS = frozenset({*STEPS, "Pow"})


@dataclass(frozen=True)
class MergeArithmetic(Pass):
    """Merge Add, Sub, Mul, Div and Neg with floating-point constants that stand in a row.

    All of them together are y = s x + t: one Mul, Div, Add or Sub where s or t tells nothing, else a Mul and an Add.
    Rewritten where that takes fewer nodes: (x a) b is x (a b), (x / a) / b is x / (a b), ((x + a) b) + c is x b +
    (a b + c), -(x - a) is a - x; (x + a) b stays. Also x**1 is x, and x**0.5 a Sqrt where x cannot be negative.

    Constants are computed in double precision and rounded once. Left alone, with a reason: constants that are not
    finite, or whose merged value is not, or loses digits in its type; terms that cancel each other, which is how a sum
    is rounded on purpose; merges that make the weights larger; the scale and mask between the scores of attention and
    their Softmax where the target's engine looks for them. Integers, and constants that the caller may override, are
    left alone without one. Works in subgraphs and in local functions; below opset 7, which broadcasts by attributes,
    it does nothing.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Merge in every scope."""
        dialect = ctx.dialect
        with ir.edit(graph) as edit:
            for scope in ir.every_graph(graph):
                if scope.opset < 7:
                    continue
                for node in scope.nodes:
                    if node.op not in _OPS or not node.is_standard or edit.was_removed(node):
                        continue
                    if node.op == "Pow":
                        if simplify_power(edit, node, ctx):
                            ctx.count("powers")
                    elif saved := merge_from(edit, scope, node, ctx, dialect):
                        ctx.count("nodes saved", saved)
        return edit.changed
