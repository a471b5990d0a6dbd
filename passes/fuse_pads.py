"""`fuse-pads`: a Pad becomes the padding of the convolutions and pools that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.linear.fold_pad import fold_pad
from onnxopt.pipeline.base import Context, Pass, Preserves


@dataclass(frozen=True)
class FusePads(Pass):
    """Fold a constant Pad of the spatial axes into the Conv, AveragePool or MaxPool that reads it.

    Zeros go into a Conv with constant weights; zeros into an AveragePool, which then counts its padding
    (`count_include_pad`); -inf into a MaxPool, and zeros where the data cannot be negative (they come from a Relu, a
    Sigmoid, ...), since every window holds data. A Pad that several nodes read goes where all of them take it.

    Left alone, with a reason: other modes and values; pads of the batch or the channels, negative ones, and those that
    are computed at run time; readers with `auto_pad=SAME_*`, which pads by the size of the data, or with `ceil_mode`;
    an AveragePool with padding of its own that it does not count; a MaxPool that is dilated or gives out indices;
    pools whose padding would be as wide as their window, which runtimes refuse. ConvTranspose crops by its pads. Works
    in subgraphs and in local functions.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("Pad",)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Fold in every scope."""
        with ir.edit(graph) as edit:
            for scope in ir.every_graph(graph):
                for node in scope.nodes:
                    if node.op == "Pad" and node.is_standard and not edit.was_removed(node):
                        folded = fold_pad(edit, scope, node, ctx)
                        if folded:
                            ctx.count("Pads", folded)
        return edit.changed
