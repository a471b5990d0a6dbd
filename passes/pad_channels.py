"""`pad-channels`: depthwise convolutions get the number of channels that the target's integer kernel likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.linear.channel_padding import pad_region, weights_of
from onnxopt.linear.channel_region import Region, find_region
from onnxopt.linear.geometry import is_depthwise
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.target import quantization_rules


@dataclass(frozen=True)
class PadChannels(Pass):
    """Add channels of zeros round depthwise convolutions whose channels are no multiple of what the target likes.

    For `quantize`, before it: onnxruntime's integer kernel of depthwise convolutions takes 16 channels at once and what
    is left one by one, so that 40 channels take twice as long as 48. Other targets have no such number, and nothing is
    done for them unless `multiple` is given. In float nothing is gained.

    The Convs that make the channels get outputs with weights and bias 0, the Convs that read them weights of 0 for
    them. In between every channel is computed by itself: depthwise Conv; Relu, Clip, PRelu, HardSwish, Sigmoid and
    other activations; arithmetic with constants; pooling; products of two branches, so that squeeze and excitation
    grows with what it weighs. An activation that makes something else of 0 does no harm: the zeros that read it are
    exact for any finite number, and that it is one is proven. The outputs stay the same for finite values, but for the
    order in which sums are taken.

    Refused where the channels reach an input or output of the graph, an Add of two branches, a Concat, a grouped Conv,
    or any other operator; where weights are not constant or not float32; where weights would grow too much. Only the
    main graph is looked at, as only that is quantized. Where all that a gate lets through is small, HardSigmoid's 0.5
    for added channels may widen what is calibrated.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("Conv",)

    multiple: int | None = None
    """Of what the number of channels becomes a multiple; none: what the target likes, if it says so."""
    growth: float = 2.0
    """How many times as many channels there may be after it, and so weights of the convolutions that share them."""

    def __post_init__(self) -> None:
        if self.multiple is not None and self.multiple < 2:
            raise ValueError(f"multiple is {self.multiple}: give at least 2")
        if not self.growth >= 1:
            raise ValueError(f"growth is {self.growth:g}: give at least 1")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Pad every region with a depthwise Conv whose channels do not fit."""
        multiple = self.multiple or _liked(ctx.target)
        if multiple is None:
            return False
        seen: set[ir.Node] = set()
        with ir.edit(graph) as edit:
            order = {node: place for place, node in enumerate(graph.nodes)}
            for node in graph.nodes:
                if node not in seen and is_depthwise(node) and node.attr("group", 1) % multiple:
                    region = find_region(edit, node, order)
                    seen.update(region.depthwise)
                    self._pad(edit, node, region, multiple, ctx)
        return edit.changed

    def _pad(self, edit: ir.Edit, node: ir.Node, region: Region, multiple: int, ctx: Context) -> None:
        channels = -(-region.channels // multiple) * multiple
        growth, reason = channels / region.channels, region.obstacle
        if reason is None and growth > self.growth:
            reason = f"its weights would grow {growth:.3g} times, and growth={self.growth:g} is the limit"
        if reason is not None:
            ctx.refuse(f"{region.channels} channels are no multiple of {multiple}, but {reason}", node)
            return
        if not ctx.allow(f"{region.channels} channels padded to {channels}", node):
            return
        before = weights_of(region)
        pad_region(edit, region, channels)
        ctx.count("depthwise convolutions padded", len(region.depthwise))
        ctx.count("channels added", channels - region.channels)
        ctx.count("weights added", weights_of(region) - before)


def _liked(target: str | None) -> int | None:
    """The number of which a target likes multiples; None where it does not say."""
    try:
        return quantization_rules(target).depthwise_multiple
    except BadOption:  # it is not quantized for
        return None
