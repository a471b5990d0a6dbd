"""`sink-transposes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.folding.candidates import takes_initializers
from onnxopt.ir.proven import ProvenShapes
from onnxopt.layout.scopes import each_scope
from onnxopt.layout.sink import Refusals, sink
from onnxopt.pipeline.base import Context, Pass, Preserves

_ROUNDS = 10
"""Each round leaves fewer Transposes, or smaller ones; few models need more than two."""


@dataclass(frozen=True)
class SinkTransposes(Pass):
    """Move Transposes past other nodes, up or down, to where fewer of them are needed.

    Models that a converter made of TensorFlow's lose nearly all of theirs. Past elementwise operators (with operands
    that are constants, scalars, or transposed too), Concat, Split, Slice, Pad, Tile, Expand, Gather, TopK, CumSum,
    reductions, ArgMax, Softmax, Squeeze, Unsqueeze, Reshape that merges or splits whole axes, Q and DQ, MatMul (axes of
    the batch), BatchNormalization and LayerNormalization (axes that they do not look at); into constants, Gemm
    (`transA`, `transB`), and Shape whose dimensions are picked one by one. Axes and constants follow. Transposes of
    Transposes are merged first, as `merge-transposes` does.

    What is moved is a minimum cut. From each Transpose, all nodes that its permutation can reach are collected, 2,000
    at most; each tensor between them costs one Transpose for every layout, but that in which it is made, in which
    somebody reads it; the set of nodes of the least cost is worked out exactly and moved at once, or nothing is. (The
    optimizer of onnxruntime pushes one Transpose at a time past one node, by an estimate of what comes next, and always
    down; it may leave as many, and adds Unsqueeze and Squeeze nodes.) So there are never more nodes than before, and a
    second run finds nothing: moved is only what leaves fewer Transposes, or as many that move fewer elements or no
    longer part nodes that engines compute as one (Conv and Relu, Q or DQ and its node, Add and LayerNormalization).

    Left alone: the Transposes of attention, for targets whose engine looks for them; Softmax and spelled-out
    LayerNormalization over the last axis, which stays the last; constants of over 4,194,304 elements, and of over 4,096
    where others read them too; types of under 8 bits and 8-bit floats; training.

    In every scope, each by itself: a value from outside is an input. Subgraphs before IR version 4 are left out, as
    they have no initializers. Ranks and shapes count only where they follow from the model's inputs and operators.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("Transpose",)

    exact: bool = False
    """Keep every bit of every output, as onnxruntime computes them: move none past an operator that adds up floats,
    whose order may change, nor past transcendental functions whose last bit depends on an element's place in memory."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = False
        refusals: Refusals = {}
        for _ in range(_ROUNDS):
            refusals.clear()
            with ir.edit(graph) as edit:
                shapes, keeps = ctx.analysis(ProvenShapes, graph), ctx.dialect.keeps("attention")
                for around, opset in each_scope(graph, edit, shapes, exact=self.exact, keep_attention=keeps):
                    if takes_initializers(around.scope, graph):
                        sink(around, opset, ctx, refusals)
            if not edit.changed:
                break
            changed = True
            ctx.forget()
            if not any(node.op == "Transpose" for node in ir.every_node(graph)):
                break
            ir.sort(graph)
        for node, reason in refusals:
            ctx.refuse(reason, node)
        return changed
