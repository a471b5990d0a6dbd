"""`factorize-depthwise`: a dense convolution becomes a depthwise one and a 1x1 one, where that costs less."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.factorizing.factorizing import Way, factorize, require_sound
from onnxopt.factorizing.layers import Seen
from onnxopt.factorizing.low_rank import Factors, separable
from onnxopt.factorizing.splitting import split_separable
from onnxopt.linear.layer import Layer
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pruning.teacher import remember


@dataclass(frozen=True)
class FactorizeDepthwise(Pass):
    """Make a dense k x k Conv a depthwise one, of `rank` kernels for each input channel, and a 1x1 Conv upon it.

    The kernels are the leading singular vectors of each input channel's weights, weighted by the second moments of
    what the layer sees on calibration data; the 1x1 weights are then found by least squares over all channels, and the
    mean of the error goes into the bias. Weights of that rank are reproduced to rounding. Of C_in C_out k k weights,
    rank C_in (k k + C_out) are left, and as many MACs for each position of the output. The statistics give both before
    and after, and the largest error; each rewrite names its rank and error.

    A layer is left alone, with the reason, where no rank that lowers weights and MACs is good enough, where its weights
    are read elsewhere, computed or not finite, and in subgraphs and functions. Strides, padding, dilations and groups
    go with the kernels; 1-D and 3-D are as 2-D. The result is dense: masks of the weights are gone. Depthwise and 1x1
    convolutions are left as they are, and so a second run changes nothing. Two small layers need not run faster than
    one large one: see `onnxopt bench` and `--guard-latency`.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = ("Conv",)

    rank: int | None = None
    """Kernels for each input channel; none: the fewest with an error of at most `max-error`."""
    max_error: float | None = None
    """The largest part of the energy of a layer's output, about its mean, that may be error; none: 0.01 (20 dB), and
    any where `rank` is given. Few samples of many inputs say little: the error then is nearly that of the weights."""
    include: tuple[str, ...] = ("*",)
    """Patterns of layers, weights or operators: `encoder.*`. One that matches nothing is an error."""
    exclude: tuple[str, ...] = ()
    """Patterns of those to leave alone."""
    samples: int | None = 256
    """How many samples to look at; none: all."""

    def __post_init__(self) -> None:
        require_sound(self)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed.

        Raises:
            BadOption: There are no calibration data, or a pattern matches nothing.
            BadData: The data do not fit.
        """
        way = Way(("Conv",), _is_dense, _most, _weights, _ranks, split_separable)
        return factorize(self.pass_name(), way, self, graph, ctx, remember)


def _is_dense(edit: ir.Edit, layer: Layer) -> bool:
    """Whether a Conv adds up several channels under a kernel of more than one tap."""
    return _taps(layer) > 1 and layer.inputs > layer.groups


def _taps(layer: Layer) -> int:
    return math.prod(layer.weight.shape[2:])


def _weights(layer: Layer, rank: int) -> int:
    return rank * layer.inputs * (_taps(layer) + layer.outputs // layer.groups)


def _most(layer: Layer) -> int:
    """The largest rank with fewer weights than there are."""
    return min((math.prod(layer.weight.shape) - 1) // _weights(layer, 1), _taps(layer))


def _ranks(seen: Seen, most: int) -> Iterator[Factors]:
    layer = seen.layer
    shape = (layer.groups, layer.outputs // layer.groups, layer.inputs // layer.groups, _taps(layer))
    return separable(seen.weights.reshape(shape), seen.moments, most)
