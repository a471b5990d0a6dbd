"""How accurate a model is with each of its layers pruned alone, and how sparse each may be for all of them together.

Each weight alone is pruned to some sparsities, and the whole model is judged: n weights and s sparsities cost n s runs
over the samples. From these curves follow shares for all weights (`shares_at`): noise that layers bring to the outputs
adds up, nearly, so the most zeros for a given noise are where one more zero brings the same noise in every layer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.data.scoring import Metric, default_metric
from onnxopt.errors import BadData, BadOption
from onnxopt.pipeline.base import Context, describe
from onnxopt.pruning.prunable import Prunable
from onnxopt.runtime.evaluation import Accuracy, Subject
from onnxopt.runtime.executable import executable
from onnxopt.runtime.judging import Judge, is_good

Floats = npt.NDArray[np.float64]
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ALONE = 16
"""Samples that each layer alone is run on, in a search."""
_COARSE = (0.3, 0.5, 0.7, 0.9)
"""Sparsities that each layer alone is pruned to, in a search; what lies between follows."""
_STEPS = 12
"""Models that are tried in a search."""
_FAR = 0.1
"""Of the cosine: the error is half as large as the outputs."""
_FINE = 0.01
"""The shares of a search are multiples of this."""
_WHAT, _TOGETHER = "layers pruned alone", "models"


class Pruner(Protocol):
    """How weights are pruned."""

    def targets(self, graph: ir.Graph, ctx: Context) -> Sequence[Prunable]:
        """The weights that it would prune; reasons for the others are told."""

    def prune_to(self, graph: ir.Graph, shares: Mapping[str, float], ctx: Context) -> object:
        """Prune some weights, by name, to a share of zeros."""

    @property
    def levels(self) -> Sequence[float]:
        """The shares of zeros that a weight can have, where there are only some; none: any."""


@dataclass(frozen=True)
class Curve:
    """One weight, pruned alone."""

    layer: str
    """The operator and name of the first layer that reads it."""
    weight: str
    size: int
    """How many elements it has."""
    values: tuple[float, ...]
    """The metric of the whole model for each sparsity; NaN where an output is not finite."""
    snrs: tuple[float, ...]
    """The signal-to-noise ratio of the worst output to the original's, dB; NaN likewise."""


@dataclass(frozen=True)
class Sweep:
    """What was measured of all weights."""

    levels: tuple[float, ...]
    """The sparsities, 0 to 1, rising."""
    curves: tuple[Curve, ...]
    """In the order of the model."""
    metric: Metric
    reference: float
    """The metric of the original; the best there is, where its own outputs are the measure."""
    samples: int
    source: str
    """Where they come from."""


@dataclass(frozen=True)
class Allocation:
    """The shares that were found for all weights together."""

    sweep: Sweep
    shares: Mapping[str, float]
    """Of zeros, by weight; a weight that is left alone is left out."""
    max_drop: float
    chosen: Accuracy
    """Of the whole model with these shares, on calibration data."""

    @property
    def sparsity(self) -> float:
        """The share of zeros of all weights that were looked at."""
        sizes = {curve.weight: curve.size for curve in self.sweep.curves}
        zeros = sum(share * sizes[weight] for weight, share in self.shares.items())
        return zeros / max(sum(sizes.values()), 1)


def sweep(graph: ir.Graph, pruner: Pruner, ctx: Context, judge: Judge, levels: Sequence[float] = LEVELS) -> Sweep:
    """Prune each weight alone to each sparsity, and judge the model.

    Args:
        graph: The model; it is left as it is.
        pruner: How weights are pruned, and which.
        ctx: Calibration data, target and progress.
        judge: Has the model as its reference.
        levels: Sparsities, where the pruner does not have its own.

    Raises:
        BadData: The metric cannot judge the outputs.
        NotRunnable: onnxruntime refuses a model.
    """
    levels = tuple(pruner.levels or levels)
    targets = pruner.targets(graph, ctx)
    found: list[list[Accuracy]] = [[] for _ in targets]
    jobs = [(place, level) for place in range(len(targets)) for level in levels]
    for place, level in ctx.progress(jobs, _WHAT, len(jobs)):
        found[place].append(judge.accuracy(_pruned(graph, pruner, {targets[place].name: level}, ctx)))
    seen = next((each for row in found for each in row), None)
    curves = (
        Curve(_label(target, targets), target.name, target.size, *zip(*map(_values, row), strict=True))
        for target, row in zip(targets, found, strict=True)
    )
    reference = math.nan if seen is None else seen.reference
    return Sweep(levels, tuple(curves), judge.metric, reference, seen.samples if seen else 0, judge.data.source)


def search(graph: ir.Graph, pruner: Pruner, ctx: Context, judge: Judge, max_drop: float) -> Allocation:
    """The shares with the most zeros that are good enough on all samples of the judge.

    Each weight alone is judged on a few samples only. What it may bring in noise is then raised or lowered for all
    of them together, until the whole model loses no more than it may: so what is chosen was tried.

    Raises:
        BadData: The metric cannot judge the outputs.
        NotRunnable: onnxruntime refuses a model.
    """
    alone = sweep(graph, pruner, ctx, Judge(judge.reference, judge.data.spread(ALONE), judge.metric), _COARSE)
    fine: Sequence[float] = (
        () if pruner.levels else [round(place * _FINE, 6) for place in range(1, round(alone.levels[-1] / _FINE) + 1)]
    )
    low, high = _prices(alone)
    best: dict[str, float] = {}
    chosen = judge.accuracy(judge.reference)
    tried: dict[tuple[tuple[str, float], ...], Accuracy] = {}
    for step in range(_STEPS):
        if ctx.report_progress is not None:
            ctx.report_progress(_TOGETHER, step, _STEPS)
        price = math.sqrt(low * high) if step else high  # everything at once may be good enough
        shares = shares_at(alone, price, fine)
        key = tuple(shares.items())
        found = tried[key] if key in tried else judge.accuracy(_pruned(graph, pruner, shares, ctx))
        tried[key] = found
        if is_good(found, max_drop):
            best, chosen, low = shares, found, price
            if not step:
                break
        else:
            high = price
    return Allocation(alone, best, max_drop, chosen)


def usual_metric(reference: Subject, data: DataSet, labels: str | None, max_drop: float | None) -> Metric:
    """What a search judges by where the user does not say.

    top1 where the data have integer labels; the agreement with the original where its only output is [samples,
    classes]; else the cosine.

    Raises:
        BadData: The data have no such labels.
        BadOption: `max_drop` was meant for another metric than the cosine.
    """
    metric = default_metric(data, labels)
    if metric.name != "cosine" or labels is not None:
        return metric
    agreement = Metric.of("agreement", data)
    fed = next(data.batches())
    outputs = reference.run(fed)
    try:
        agreement.start().add(outputs, outputs, {}, data.layout.batch or 1)
    except BadData:
        if max_drop is not None and max_drop > _FAR:
            raise BadOption(
                f"prune: max-drop={max_drop:g} of the cosine would leave nothing of the outputs: give less, 0.001 is "
                "about 27 dB, or say which metric is meant, and the labels or targets that it needs"
            ) from None
        return metric
    return agreement


def shares_at(alone: Sweep, price: float, fine: Sequence[float] = ()) -> dict[str, float]:
    """The shares with the most zeros where a zero may cost so much noise: those of the largest zeros - noise / price.

    Args:
        alone: Of each weight.
        price: Noise energy at the outputs, of their own energy, for each zero.
        fine: Shares to choose of, rising; what was not measured lies between what was. None: those that were measured.
    """
    found = {}
    for curve in alone.curves:
        levels, noise = _noise(curve, alone.levels, fine)
        gain = levels * curve.size - noise / price
        best = int(np.argmax(np.where(np.isfinite(gain), gain, -np.inf)))
        if gain[best] > 0:
            found[curve.weight] = round(float(levels[best]), 6)
    return found


def _noise(curve: Curve, levels: Sequence[float], fine: Sequence[float]) -> tuple[Floats, Floats]:
    """Shares, and the noise of each: no less than that of a smaller share."""
    noise = np.array([10 ** (-snr / 10) if not math.isnan(snr) else np.inf for snr in curve.snrs])
    known, noise = np.asarray(levels, np.float64), np.maximum.accumulate(noise)
    if not len(fine):
        return known, noise
    wanted = np.asarray(fine, np.float64)
    logs = np.log10(np.clip(noise, 1e-30, 1e30))
    between = 10 ** np.interp(wanted, known, logs)
    below = (
        noise[0] * (wanted / known[0]) ** 2
    )  # the smallest weights first: their energy grows faster than their number
    return wanted, np.where(wanted < known[0], below, between)


def _prices(alone: Sweep) -> tuple[float, float]:
    """One at which next to nothing is pruned, and one at which nearly everything is."""
    each = [
        noise / (level * curve.size)
        for curve in alone.curves
        for level, noise in zip(*_noise(curve, alone.levels, ()), strict=True)
        if 0 < noise < np.inf
    ]
    return (min(each) / 100, max(each) * 100) if each else (1e-12, 1.0)


def _pruned(graph: ir.Graph, pruner: Pruner, shares: Mapping[str, float], ctx: Context) -> Subject:
    copy = graph.copy()
    aside = Context(ctx.target, ctx.data, current=ctx.current)
    pruner.prune_to(copy, shares, aside)
    ir.sort(copy)
    with executable(copy) as model:
        return Subject("the pruned model", model)


def _values(found: Accuracy) -> tuple[float, float]:
    worst = min(found.outputs.values(), key=lambda value: (not math.isnan(value), value), default=math.nan)
    return (math.nan if found.broken else found.model), worst


def _label(target: Prunable, targets: Sequence[Prunable]) -> str:
    """The layer, with the weight where it has several."""
    name = describe(target.node)
    several = Counter(each.node for each in targets)[target.node] > 1
    return f"{name}: {target.name}" if several else name
