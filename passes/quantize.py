"""`quantize`: explicit QuantizeLinear and DequantizeLinear, where the target wants them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import ClassVar

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.data.scoring import Metric, default_metric
from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.quantization import IntegerName
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.collecting import collect
from onnxopt.quantization.float_model import FloatModel
from onnxopt.quantization.insertion import insert
from onnxopt.quantization.observers import Method, Observing
from onnxopt.quantization.plan import Choices, Plan, plan
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.request import Request
from onnxopt.quantization.selection import matching
from onnxopt.quantization.sensitivity import AUTO, Search, allowed_drop, named
from onnxopt.quantization.weights import WeightMethod

_SHOWN = 5
"""Remarks on calibrated tensors that are told."""


@dataclass(frozen=True)
class Quantize(Pass):
    """Quantize activations, weights and biases as the target's rules have it, with ranges seen on calibration data.

    Takes the ranges that `calibrate` left; where it did not run, the data are run through the model here. One pair of
    QuantizeLinear and DequantizeLinear stands behind a tensor, for all its readers; operators that only move values
    share one encoding on both sides; nothing stands between a layer and its Relu or Clip. Operators are quantized where
    their values come and go quantized, layers wherever they stand. Weights and biases become integers with a
    DequantizeLinear. Inputs and outputs of the model keep their names and types.

    Only the main graph is quantized: layers in subgraphs and functions stay in float, and are counted in a warning. So
    do layers that are quantized already, whose types are not float32, and whose weights are computed from constants
    (run -O 3 before). Batch normalizations that stand behind layers are told of: folded, they cost nothing.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY

    activations: IntegerName | None = None
    """What activations become; none: what the target has them as."""
    weights: IntegerName | None = None
    """What weights become; none: what the target has them as."""
    per_channel: bool = True
    """Whether weights have a scale for each output channel, where the target takes that."""
    ops: tuple[str, ...] = ()
    """Only these operators, besides those that move values; none: all that the target quantizes."""
    keep_float: tuple[str, ...] = ()
    """Nodes to compute in float: globs of names and operators. `auto`: the fewest layers that bring the model within
    `max-drop` on the calibration data, by a table of how much noise each layer alone brings to the outputs."""
    wide: tuple[str, ...] = ()
    """Nodes whose activations get 16 bits: globs of names and operators. `auto`: the fewest layers, as above."""
    max_drop: float | None = None
    """What `auto` may lose, in the metric's unit; none: 0.2 % of top1, 0.15 dB, 0.001 of cosine."""
    metric: str | None = None
    """What `auto` judges by: top1, psnr, psnr:PEAK, snr, cosine or module:function; none: top1 where the calibration
    data have integer labels, else the cosine of the float model's outputs and the quantized model's."""
    labels: str | None = None
    """The array of the calibration data that holds the labels, or the target of psnr, snr or cosine."""
    method: Method = "minmax"
    """How ranges are found, where `calibrate` did not run."""
    percentile: float = 99.99
    """Of the values that `method=percentile` keeps."""
    samples: int | None = None
    """How many samples are calibrated on at most, where `calibrate` did not run, and judged on by `auto`; none: all."""
    weight_method: WeightMethod = "minmax"
    """How weights are clipped: not at all, or where the squared error is smallest."""

    def __post_init__(self) -> None:
        try:
            Observing(self.method, self.percentile)
        except BadOption as error:
            raise ValueError(str(error)) from None
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}: give at least 1")
        if AUTO in self.keep_float and AUTO in self.wide:
            raise ValueError("keep-float=auto and wide=auto exclude each other")
        if not self._is_auto and (
            unused := [n for n in ("max_drop", "metric", "labels") if getattr(self, n) is not None]
        ):
            raise ValueError(f"{unused[0].replace('_', '-')} is for keep-float=auto or wide=auto")

    @property
    def _is_auto(self) -> bool:
        return AUTO in self.keep_float or AUTO in self.wide

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Plan, calibrate, insert.

        Raises:
            BadOption: There are no calibration data, a pattern matches nothing, or the target does not take a type.
            BadData: The data do not fit, or a calibrated range is missing.
            CheckFailed: No layer left in higher precision brings the model within `max-drop`.
        """
        floats = matching(graph, named(self.keep_float), "keep-float")
        wide = matching(graph, named(self.wide), "wide")
        ranges: Ranges | None = None
        if self._is_auto:
            floats, wide, ranges = self._search(graph, ctx, floats, wide)
        planned = self.planned(graph, ctx, floats, wide)
        _warn(graph, planned, ctx)
        ctx.keep(FloatModel.of(graph))
        if not planned.groups and not planned.weights:
            return False
        return self.carried_out(graph, planned, ranges or self._ranges(graph, planned.requests, ctx), ctx)

    def planned(self, graph: ir.Graph, ctx: Context, floats: Set[ir.Node], wide: Set[ir.Node]) -> Plan:
        """What will be done, some nodes being left in float and others having wide activations."""
        choices = Choices(self.activations, self.weights, self.per_channel, self.ops)
        return plan(graph, quantization_rules(ctx.target), choices, ctx, floats, wide)

    def carried_out(self, graph: ir.Graph, planned: Plan, ranges: Ranges, ctx: Context) -> bool:
        """Do it; return whether anything changed."""
        return insert(graph, planned, ranges, ctx, self.weight_method)

    def _search(
        self, graph: ir.Graph, ctx: Context, floats: set[ir.Node], wide: set[ir.Node]
    ) -> tuple[set[ir.Node], set[ir.Node], Ranges]:
        """The nodes for higher precision, with those that the user named; and the ranges of all tensors."""
        data = self._data(ctx)
        metric = default_metric(data, self.labels) if self.metric is None else Metric.of(self.metric, data, self.labels)
        max_drop = allowed_drop(metric, self.max_drop)
        search = Search(graph, self, ctx, floats, wide, widen=AUTO in self.wide)
        requests = search.requests()
        ranges = self._ranges(graph, requests, ctx)
        if missing := [request for request in requests if request.tensor not in ranges.by_name]:
            more = collect(graph, missing, data, method=self.method, percentile=self.percentile)
            ranges = replace(ranges, by_name={**ranges.by_name, **more.by_name})
        if not search.candidates:
            return floats, wide, ranges
        kept = search.run(ranges, data, metric, max_drop)
        return (floats, wide | kept, ranges) if search.widen else (floats | kept, wide, ranges)

    def _data(self, ctx: Context) -> DataSet:
        if ctx.data is None:
            raise BadOption("quantize needs calibration data: give --data")
        return ctx.data if self.samples is None else ctx.data.take(self.samples)

    def _ranges(self, graph: ir.Graph, requests: list[Request], ctx: Context) -> Ranges:
        known = ctx.kept(Ranges)
        if known is not None:
            if known.fingerprint != ir.fingerprint(graph):
                ctx.warn("the graph has changed since calibrate, and ranges may not fit: run it right before quantize")
            return known
        found = collect(
            graph, requests, self._data(ctx),
            method=self.method, percentile=self.percentile, report=ctx.report_progress,
        )  # fmt: skip
        ctx.keep(found)
        for remark in found.remarks[:_SHOWN]:
            ctx.warn(remark)
        if len(found.remarks) > _SHOWN:
            ctx.warn(f"... and {len(found.remarks) - _SHOWN} more remarks: calibrate with --save-ranges writes all")
        return found


def _warn(graph: ir.Graph, planned: Plan, ctx: Context) -> None:
    """What the user should know before."""
    found = planned.selection
    if found.inner:
        ctx.warn(f"{found.inner} layers in subgraphs and functions stay in float: only the main graph is quantized")
    if found.quantized:
        left = "; there is nothing left to quantize" if not planned.layers else ""
        ctx.warn(f"{len(found.quantized)} layers are quantized already and stay as they are{left}")
    normalizations = [node for node in graph.nodes if node.is_op("BatchNormalization")]
    if planned.layers and normalizations:
        ctx.warn(f"{len(normalizations)} BatchNormalizations are there: run -O 2 or -O 3 before, which folds them")
