"""`fuse-conv-bn`: per-channel arithmetic becomes part of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.linear.fold_affine import fold_after, fold_before
from onnxopt.linear.layer import is_layer
from onnxopt.pipeline.base import Context, Pass, Preserves


@dataclass(frozen=True)
class FuseConvBn(Pass):
    """Fold BatchNormalization, and Mul, Add, Sub, Div by per-channel constants, into the layer next to them.

    A layer is a Conv, ConvTranspose, Gemm or MatMul with constant weights, be they initializers or Constant nodes; a
    1x1 depthwise Conv counts as a per-channel Mul and Add. What follows a layer is folded first: W' = s W,
    b' = s b + t, with s = scale / sqrt(variance + epsilon) and t = bias - mean s for a BatchNormalization. What
    precedes one is folded where no padding comes between: W' = W s, b' = b + sum of W t. A MatMul that gets a bias
    becomes a Gemm.

    New weights are computed in double precision and rounded once to the type of the old ones; weights that other
    nodes share are left to those. Zero weights stay zero. Left alone, with a reason: BatchNormalization in training
    mode, weights that the caller may override, an intermediate result that others read or that is an output, results
    that are not finite, float16 weights that would lose digits. Works in subgraphs and in local functions.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Fold in every scope."""
        with ir.edit(graph) as edit:
            for fold, where in ((fold_after, "after a layer"), (fold_before, "before a layer")):
                for scope in ir.every_graph(graph):
                    for node in scope.nodes:
                        if is_layer(node) and not edit.was_removed(node):
                            folded = fold(edit, scope, node, ctx)
                            if folded:
                                ctx.count(f"folded {where}", folded)
        return edit.changed
