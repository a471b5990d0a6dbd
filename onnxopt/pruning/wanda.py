"""Magnitudes times the norm of the data that each weight is multiplied with (Wanda)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.streaming import stream
from onnxopt.pipeline.base import Context
from onnxopt.pruning.by_score import select_together
from onnxopt.pruning.magnitude import by_magnitude, by_magnitude_together
from onnxopt.pruning.masks import Keep
from onnxopt.pruning.on_data import Pruned, Wanted, divided, required_data
from onnxopt.pruning.patterns import Pattern, Scores, select
from onnxopt.pruning.prunable import Array, Prunable

Floats = npt.NDArray[np.float64]


class Norms:
    """The root mean square of each input of a weight, gathered batch by batch.

    Of a convolution each input channel has one, over the samples and places of the image; of W of an LSTM or GRU each
    feature of X; of R each hidden state, in each direction.
    """

    def __init__(self, target: Prunable, tensor: ir.Tensor) -> None:
        self.target = target
        self.tensor = tensor
        """The data, `data_of` the weight."""
        self.squares: Floats = np.zeros(())
        self.count = 0

    def add(self, data: Array) -> None:
        """The data of a batch."""
        axes = self._axes(data.ndim)
        found = np.square(data, dtype=np.float64 if data.dtype == np.float64 else np.float32)
        rest = tuple(axis for axis in range(data.ndim) if axis not in axes)
        self.squares = self.squares + found.sum(axis=rest, dtype=np.float64)
        self.count += data.size // max(self.squares.size, 1)

    def _axes(self, rank: int) -> tuple[int, ...]:
        """Along which the inputs lie."""
        node = self.target.node
        if node.is_op("Conv", "ConvTranspose"):
            return (1,)
        if node.is_op("LSTM", "GRU") and _is_recurrence(self.target):  # Y: [steps, directions, samples, hidden states]
            return (2, 3) if node.attr("layout", 0) else (1, 3)
        if node.is_op("Gemm") and node.attr("transA", 0):
            return (0,)
        return (rank - 1,)

    def of_weights(self) -> Floats:
        """Of each weight, [outputs, inputs * kernel]; or [1, inputs * kernel], where all outputs have the same."""
        norms = np.sqrt(self.squares / max(self.count, 1))
        node, kernel = self.target.node, self.target.kernel
        if node.is_op("Conv", "ConvTranspose"):
            rows = self.target.outputs // self.target.groups
            grouped = np.repeat(norms.reshape(self.target.groups, -1), rows, axis=0)
            return np.repeat(grouped, kernel, axis=1)
        if norms.ndim == 2:  # [directions, hidden states]
            return np.repeat(norms, self.target.outputs // len(norms), axis=0)
        return norms[np.newaxis]


def data_of(target: Prunable) -> ir.Tensor | None:
    """What a weight is multiplied with; None where no tensor of the graph holds it: that of R where nothing reads Y."""
    node = target.node
    if _is_recurrence(target):
        return node.outputs[0] if node.outputs and node.outputs[0].name else None
    found: ir.Tensor = node.inputs[0]
    return found


def _is_recurrence(target: Prunable) -> bool:
    """Whether a weight is R of an LSTM or GRU."""
    return target.node.is_op("LSTM", "GRU") and target.node.inputs[1] is not target.weight.tensor


def wanda_scores(target: Prunable, array: Array, norms: Floats) -> Scores:
    """|W| times the norms, float32 [outputs, inputs * kernel]; -inf where a weight is zero already.

    Sun et al. 2023, "A simple and effective pruning approach for large language models", equation 1.

    Args:
        target: The weight.
        array: Its values.
        norms: `Norms.of_weights`.
    """
    weights = target.matrix(array).astype(np.float32)
    scores = np.abs(weights) * norms.astype(np.float32)
    return np.where(weights == 0, -np.inf, scores)


def by_wanda(
    graph: ir.Graph, wanted: Iterable[Wanted], pattern: Pattern, ctx: Context, *, together: bool, samples: int | None
) -> Iterator[Pruned]:
    """What to keep of each weight, where each loses the share that is beside it, or all of one share lose it together.

    Together scores count as parts of what their layer gives out: of the norm of all of its scores. Weights whose
    layer's data are not seen are pruned by magnitude, with a warning.

    Args:
        graph: The main graph.
        wanted: The weights, and their shares of zeros.
        pattern: Where zeros may lie.
        ctx: Has the data; is warned.
        together: Whether weights of one share lose it together.
        samples: How many to look at; none: all.

    Raises:
        BadOption: There are no calibration data.
        BadData: A sample does not fit.
    """
    data = required_data(ctx, samples, "wanda")
    found, blind = divided(graph, wanted, lambda target: _norms(graph, target), ctx)
    names = [norms.tensor.name for _, _, norms in found]
    for values in stream(graph, list(dict.fromkeys(names)), data, report=ctx.report_progress) if names else ():
        for name, (_, _, norms) in zip(names, found, strict=True):
            norms.add(values[name])
    yield from (Pruned(*each) for each in (by_magnitude_together if together else by_magnitude)(blind, pattern))
    scored = [(target, share, norms) for target, share, norms in found]
    if not together:
        for target, share, norms in scored:
            yield Pruned(target, target.restored(selected(target, _scores(target, norms), share, pattern)))
        return
    for share in dict.fromkeys(share for _, share, _ in scored):
        parts = [(target, _as_parts(_scores(target, norms))) for target, own, norms in scored if own == share]
        for (target, _), keep in zip(parts, select_together(parts, share, pattern), strict=True):
            yield Pruned(target, target.restored(keep))


def selected(target: Prunable, scores: Scores, share: float, pattern: Pattern) -> Keep:
    """What to keep, [outputs, inputs * kernel]: the highest scores, each output losing the same share.

    Outputs are not compared with one another (Sun et al. 2023, section 3). Those of a convolution with groups are: one
    of a depthwise convolution has so few weights that outputs differ in how many they need.
    """
    if target.groups > 1 or pattern.is_block:
        return select(scores, share, pattern, target.kernel)
    ranks = np.argsort(np.argsort(scores, axis=1, kind="stable"), axis=1, kind="stable").astype(np.float32)
    return select(np.where(np.isneginf(scores), -np.inf, ranks), share, pattern, target.kernel)


def _norms(graph: ir.Graph, target: Prunable) -> Norms | str:
    data = data_of(target)
    if data is None:
        return "the hidden states are no tensor, as nothing reads Y"
    if data.producer is None and data not in graph.inputs:
        return "its data are constant"
    return Norms(target, data)


def _scores(target: Prunable, norms: Norms) -> Scores:
    return wanda_scores(target, target.weight.constant.read(), norms.of_weights())


def _as_parts(scores: Scores) -> Scores:
    """Of the norm of all of them, which is that of what the layer gives out, were its data independent."""
    norm = np.sqrt(np.square(scores, where=np.isfinite(scores), out=np.zeros_like(scores)).sum(dtype=np.float64))
    return np.asarray(scores / np.float32(max(norm, np.finfo(np.float32).tiny)))
