"""`decompose`: a layer of large matrices becomes two of small ones, where that costs less."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.factorizing.factorizing import Way, factorize, require_sound
from onnxopt.factorizing.layers import Seen, is_factor
from onnxopt.factorizing.low_rank import Factors, product
from onnxopt.factorizing.splitting import split_product
from onnxopt.linear.layer import Layer
from onnxopt.linear.match import NoMatch
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pruning.teacher import remember

_OPS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Decompose(Pass):
    """Make a Gemm, MatMul or Conv two, of which the first has `rank` outputs: singular value decomposition.

    What is decomposed is W L and not W, with L L^T the covariance of what the layer sees on calibration data (second
    moments for a MatMul, which has no bias): so the error of the output is least, and not that of the weights. The mean
    of the error goes into the bias. Weights of that rank are reproduced to rounding. A Conv becomes one of the same
    kernel with `rank` outputs, and a 1x1 Conv. The statistics give weights and MACs before and after, and the largest
    error; each rewrite names its rank and error.

    A layer is left alone, with the reason, where no rank is both good and cheap enough, where its weights are grouped,
    no matrix, the first factor, read elsewhere, computed or not finite, where its neighbour and it are a product of low
    rank already (as after this pass, so that a second run changes nothing), and in subgraphs and functions. The result
    is dense: masks of the weights are gone.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = _OPS

    rank: int | None = None
    """Outputs of the first layer; none: the fewest with an error of at most `max-error`."""
    max_error: float | None = None
    """The largest part of the energy of a layer's output, about its mean, that may be error; none: 0.01 (20 dB), and
    any where `rank` is given. Few samples of many inputs say little: the error then is nearly that of the weights."""
    ratio: float = 0.75
    """The largest part of a layer's weights and MACs that the two may have: two layers take longer than one of the same
    size."""
    include: tuple[str, ...] = ("*",)
    """Patterns of layers, weights or operators: `encoder.*`, `Gemm`. One that matches nothing is an error."""
    exclude: tuple[str, ...] = ()
    """Patterns of those to leave alone."""
    samples: int | None = 256
    """How many samples to look at; none: all."""

    def __post_init__(self) -> None:
        require_sound(self)
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio is {self.ratio:g}: give more than 0, and at most 1")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed.

        Raises:
            BadOption: There are no calibration data, or a pattern matches nothing.
            BadData: The data do not fit.
        """
        way = Way(_OPS, _is_whole, self._most, _weights, _ranks, split_product)
        return factorize(self.pass_name(), way, self, graph, ctx, remember)

    def _most(self, layer: Layer) -> int:
        """The largest rank with few enough weights, and fewer than there are."""
        weights = math.prod(layer.weight.shape)
        return int(min(self.ratio * weights, weights - 1)) // _weights(layer, 1)


def _is_whole(edit: ir.Edit, layer: Layer) -> bool:
    if layer.groups > 1:
        if layer.inputs == layer.groups:
            return False  # depthwise: it has no matrices
        raise NoMatch(f"its weights are {layer.groups} groups")
    if is_factor(edit, layer):
        raise NoMatch("it is a factor of low rank already")
    return True


def _weights(layer: Layer, rank: int) -> int:
    return rank * (math.prod(layer.weight.shape) // layer.outputs + layer.outputs)


def _ranks(seen: Seen, most: int) -> Iterator[Factors]:
    return product(seen.weights, seen.moments)
