"""`fuse-conv-bn`: per-channel arithmetic becomes part of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.batch_norm import merge_into_batch_norm
from onnxopt.linear.chain import STEPS
from onnxopt.linear.fold_affine import fold_after, fold_before, fold_behind_bias
from onnxopt.linear.layer import LAYERS, is_layer
from onnxopt.linear.scaled_product import fold_scales_of_product
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves


@dataclass(frozen=True)
class FuseConvBn(Pass):
    """Fold BatchNormalization, and Mul, Add, Sub, Div by per-channel constants, into the layer next to them.

    A layer is a Conv, ConvTranspose, Gemm or MatMul with constant weights, be they initializers or Constant nodes; a
    1x1 depthwise Conv counts as a per-channel Mul and Add. What follows a layer is folded first: W' = s W,
    b' = s b + t, with s = scale / sqrt(variance + epsilon) and t = bias - mean s for a BatchNormalization. What
    precedes one is folded where no padding comes between: W' = W s, b' = b + sum of W t. A MatMul that gets a bias
    becomes a Gemm, where its data are certain to be a matrix and the target takes a Gemm; elsewhere MatMul and Add stay
    two nodes, and what follows goes into both. What ends a normalization or a Gelu that engines fuse stays.

    Where no layer is next to them, two or more in a row become one BatchNormalization: the one among them with a new
    scale and bias, or, upon an image, a new one of mean 0 and variance 1. The scale and shift of a GroupNormalization
    that is spelled out stay. No rewrite adds a node.

    Where both factors of a MatMul that are computed have a scale of one number, as in torch's attention, both go into
    the layer that makes one of them, through the Reshapes, Transposes and Splits between; or else, and where the
    target's engine computes a scale and a product as one, into one Mul.

    New weights are computed in double precision and rounded once to the type of the old ones; weights that other
    nodes share are left to those. Zero weights stay zero. Left alone, with a reason: BatchNormalization in training
    mode, weights that the caller may override, an intermediate result that others read or that is an output, results
    that are not finite, float16 weights that would lose digits, arithmetic upon data whose rank or channels are not
    certain (declared shapes of inner values do not count). Works in subgraphs and in local functions.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Fold in every scope."""
        setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
        layers, products, steps = [], [], []
        for scope in ir.every_graph(graph):
            for node in scope.nodes:
                if node.op in LAYERS and is_layer(node):
                    layers.append((scope, node))
                    if node.op == "MatMul":
                        products.append((scope, node))
                elif node.op in STEPS and node.is_standard:
                    steps.append((scope, node))
        with ir.edit(graph) as edit:
            for fold, where in (
                (fold_after, "after a layer"),
                (fold_behind_bias, "after a layer"),
                (fold_before, "before a layer"),
            ):
                for scope, node in layers:
                    if not edit.was_removed(node) and (folded := fold(edit, scope, node, ctx, setting)):
                        ctx.count(f"folded {where}", folded)
            for scope, node in products:
                if not edit.was_removed(node) and (gone := fold_scales_of_product(edit, scope, node, ctx, setting)):
                    ctx.count("scales of both factors of a product", gone)
            for scope, node in steps:
                if not edit.was_removed(node) and (merged := merge_into_batch_norm(edit, scope, node, ctx, setting)):
                    ctx.count("merged into a BatchNormalization", merged)
        return edit.changed
