"""Which layers a quantized model suffers from, and how few of them in higher precision make it good enough.

Each layer is quantized alone, and the noise that it brings to the outputs is measured on a few samples: n layers cost n
short runs. Then the model is quantized with the noisiest layers left out: none, 1, 2, 4, ... until it is good enough,
and as many as are needed between the last two; of these each is tried once more, and quantized after all where the
model is good enough without it.

What is measured is what onnxruntime computes. It quantizes the weights of a Conv or Gemm by itself that is in float and
stands alone between quantized ones (its WeightBiasQuantization), so that such a layer is in float in name only; the
search then keeps more of them, until neighbours are in float together. For other targets it is kept from that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Protocol

from onnxopt import ir
from onnxopt.activations.streaming import Report
from onnxopt.data import DataSet, Feeds
from onnxopt.data.scores import Near, Snr
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadData, CheckFailed
from onnxopt.pipeline.base import Context, describe
from onnxopt.quantization.plan import Plan
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.request import Request
from onnxopt.quantization.selection import Role
from onnxopt.runtime import judging
from onnxopt.runtime.evaluation import Accuracy, Subject, evaluate, is_simulated
from onnxopt.runtime.executable import executable
from onnxopt.runtime.judging import is_good

AUTO = "auto"
"""Among the patterns of nodes: those that the search finds."""
ALONE = 16
"""Samples that each layer alone is run on."""
_ALONE, _TOGETHER = "layers alone", "models"


class Quantizer(Protocol):
    """How a graph is quantized, but for the nodes that are left out."""

    def planned(self, graph: ir.Graph, ctx: Context, floats: Set[ir.Node], wide: Set[ir.Node]) -> Plan:
        """What will be done, some nodes being left in float and others having wide activations."""

    def carried_out(self, graph: ir.Graph, planned: Plan, ranges: Ranges, ctx: Context) -> bool:
        """Do it; return whether anything changed."""


@dataclass(frozen=True)
class Layer:
    """One layer, quantized alone."""

    name: str
    """Its operator and name."""
    snr: float
    """What the other layers, in float, then make at the model's outputs: the signal-to-noise ratio to the float model's
    on some calibration samples, of the worst output, dB. NaN where an output is not finite."""
    kept: bool = False
    """Whether it was left in higher precision."""


@dataclass(frozen=True)
class Sensitivity:
    """What was measured and decided."""

    layers: tuple[Layer, ...]
    """The noisiest first."""
    precision: str
    """What the kept layers are in: `float`, or the wider integers of their activations."""
    max_drop: float
    all_quantized: Accuracy
    """Of the model with every layer quantized, on calibration data."""
    chosen: Accuracy
    """Of the model as it was left."""
    alone_on: int
    """How many samples each layer alone was run on."""

    @property
    def kept(self) -> int:
        """How many layers were left in higher precision."""
        return sum(layer.kept for layer in self.layers)


def named(patterns: Iterable[str]) -> list[str]:
    """The patterns of nodes that the user named."""
    return [pattern for pattern in patterns if pattern != AUTO]


def allowed_drop(metric: Metric, asked: float | None) -> float:
    """What may be lost, in the metric's unit; errors as those of `judging.allowed_drop`."""
    return judging.allowed_drop(metric, asked, "quantize")


@dataclass
class Search:
    """The layers of one graph, and what to leave of them in higher precision."""

    graph: ir.Graph
    """The float model; it is left as it is."""
    quantizer: Quantizer
    ctx: Context
    """Of the pass: its target, and progress."""
    floats: Set[ir.Node]
    """Nodes in float anyway."""
    wide: Set[ir.Node]
    """Nodes with wide activations anyway."""
    widen: bool
    """Leave layers wide activations, and not in float."""

    def __post_init__(self) -> None:
        self.planned = self._plan(self.floats, self.wide)
        roles = self.planned.selection.roles
        wanted = (Role.LAYER, Role.COMPUTED, *((Role.SHARED, Role.FUSED) if self.planned.rules.everywhere else ()))
        candidates = [node for node, role in roles.items() if role in wanted and node not in self.planned.fused]
        self.candidates = candidates
        if self.widen and candidates:
            self._plan(self.floats, self.wide | set(candidates))  # the target and the opset have to take that

    def requests(self) -> list[Request]:
        """All tensors that have to be calibrated, whichever layers are quantized."""
        found = {request.tensor: request for request in self.planned.requests}
        for node in self.candidates:
            for request in self._plan(self._others(node), self.wide).requests:
                found.setdefault(request.tensor, request)
        return list(found.values())

    def run(self, ranges: Ranges, data: DataSet, metric: Metric, max_drop: float) -> set[ir.Node]:
        """The nodes to leave in higher precision; how they were found is kept in the context, as a `Sensitivity`.

        Args:
            ranges: Of all `requests`.
            data: Calibration samples.
            metric: What to judge the whole model by.
            max_drop: How much of it may be lost, in its unit.

        Raises:
            BadData: The float model is no measure.
            CheckFailed: The model is not good enough with every layer in higher precision.
            NotRunnable: onnxruntime refuses a model.
        """
        with executable(self.graph) as model:
            reference = Subject("the float model", model)
        noisy = self._alone(ranges, data.take(ALONE), reference)
        report: Report | None = self.ctx.report_progress
        tried = 0

        def judge(nodes: Collection[ir.Node]) -> Accuracy:
            nonlocal tried
            tried += 1
            floats, wide = (
                (self.floats, self.wide | set(nodes)) if self.widen else (self.floats | set(nodes), self.wide)
            )
            found = evaluate(reference, self._subject(self._quantized(ranges, floats, wide)[0]), data, metric)
            if report is not None:
                report(_TOGETHER, tried, 0)
            return found

        order = [node for node, _ in noisy]
        whole = judge(())
        if math.isnan(whole.reference):
            raise BadData(f"quantize: {metric.name} of the float model itself is NaN on {data.source}")
        kept, chosen = fewest(order, whole, judge, max_drop)
        if not is_good(chosen, max_drop):
            what = "16-bit activations" if self.widen else "float"
            raise CheckFailed(
                f"quantize: with all {len(order)} layers in {what}, {metric.name} is still "
                f"{metric.show(chosen.drop)} below the float model's {metric.show(chosen.reference)}: "
                f"max-drop={max_drop:g} cannot be held"
            )
        layers = tuple(Layer(describe(node), snr, node in kept) for node, snr in noisy)
        precision = str(self.planned.rules.wide) if self.widen else "float"
        self._tell(Sensitivity(layers, precision, max_drop, whole, chosen, min(ALONE, whole.samples)))
        return kept

    def _tell(self, found: Sensitivity) -> None:
        self.ctx.keep(found)
        self.ctx.count(f"layers kept in {found.precision}", found.kept)
        for layer in found.layers:
            if layer.kept:
                reason = f"kept in {found.precision}: quantized alone it leaves {layer.snr:.1f} dB at the outputs"
                self.ctx.refuse(reason, layer.name)

    def _alone(self, ranges: Ranges, data: DataSet, reference: Subject) -> list[tuple[ir.Node, float]]:
        """The layers that are quantized when they are alone, and the SNR at the outputs, noisiest first."""
        feeds = list(data.batches())
        expected = [reference.run(fed) for fed in feeds]
        found: list[tuple[ir.Node, float]] = []
        for node in self.ctx.progress(self.candidates, _ALONE, len(self.candidates)):
            quantized, changed = self._quantized(ranges, self._others(node), self.wide)
            if changed:  # an operator may be quantized only where its neighbours are
                found.append((node, _snr(self._subject(quantized), feeds, expected)))
        return sorted(found, key=lambda each: (not math.isnan(each[1]), each[1]))

    def _others(self, node: ir.Node) -> set[ir.Node]:
        return {*self.floats, *(other for other in self.candidates if other is not node)}

    def _plan(self, floats: Set[ir.Node], wide: Set[ir.Node]) -> Plan:
        ctx = replace(self.ctx, rewrites=[], refusals=[], warnings=[], statistics=Counter())  # and what is known
        return self.quantizer.planned(self.graph, ctx, floats, wide)

    def _quantized(self, ranges: Ranges, floats: Set[ir.Node], wide: Set[ir.Node]) -> tuple[ir.Graph, bool]:
        """A copy of the model, quantized but for some nodes, and whether anything is."""
        graph = self.graph.copy()
        twin = dict(zip(self.graph.nodes, graph.nodes, strict=True))
        ctx = Context(self.ctx.target)
        planned = self.quantizer.planned(graph, ctx, {twin[n] for n in floats}, {twin[n] for n in wide})
        changed = self.quantizer.carried_out(graph, planned, ranges, ctx)
        ir.sort(graph)
        return graph, changed

    def _subject(self, graph: ir.Graph) -> Subject:
        with executable(graph) as model:
            return Subject("the quantized model", model, simulated=is_simulated(self.ctx.target))


class Judge(Protocol):
    """Quantizes a model but for some nodes, and says how good it is."""

    def __call__(self, nodes: Collection[ir.Node], /) -> Accuracy:
        """The accuracy without them."""


def fewest(order: Sequence[ir.Node], whole: Accuracy, judge: Judge, max_drop: float) -> tuple[set[ir.Node], Accuracy]:
    """The fewest nodes to leave out, and how good the model then is.

    Args:
        order: The nodes, the noisiest first.
        whole: Of the model with none left out.
        judge: Is called about 2 log2(n) times, and once for each node that is left out.
        max_drop: What is good enough.

    Returns:
        All nodes where that is not good enough either.
    """
    if is_good(whole, max_drop):
        return set(), whole
    low, high, found = 0, 0, whole
    while not is_good(found, max_drop):
        if high == len(order):
            return set(order), found
        low, high = high, min(len(order), 2 * high or 1)
        found = judge(order[:high])
    while high - low > 1:
        middle = (low + high) // 2
        between = judge(order[:middle])
        if is_good(between, max_drop):
            high, found = middle, between
        else:
            low = middle
    kept = list(order[:high])
    for node in reversed(order[: high - 1]):  # without the last of them it was not good enough
        without = [other for other in kept if other is not node]
        again = judge(without)
        if is_good(again, max_drop):
            kept, found = without, again
    return set(kept), found


def _snr(subject: Subject, feeds: Sequence[Feeds], expected: Sequence[Feeds]) -> float:
    near = Near("snr", None, Snr)
    for fed, wanted in zip(feeds, expected, strict=True):
        near.add(subject.run(fed), wanted, {}, 1)
    return near.value
