"""`quantize`: explicit QuantizeLinear and DequantizeLinear, where the target wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.quantization import IntegerName
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.collecting import collect
from onnxopt.quantization.insertion import insert
from onnxopt.quantization.observers import Method, Observing
from onnxopt.quantization.plan import Choices, Plan, plan
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.selection import matching
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
    exclude: tuple[str, ...] = ()
    """Nodes to leave out: globs of names and operators."""
    keep_float: tuple[str, ...] = ()
    """Nodes to compute in float: globs of names and operators."""
    wide: tuple[str, ...] = ()
    """Nodes whose activations get 16 bits: globs of names and operators."""
    method: Method = "minmax"
    """How ranges are found, where `calibrate` did not run."""
    percentile: float = 99.99
    """Of the values that `method=percentile` keeps."""
    samples: int | None = None
    """How many samples are calibrated on at most, where `calibrate` did not run; none: all."""
    weight_method: WeightMethod = "minmax"
    """How weights are clipped: not at all, or where the squared error is smallest."""

    def __post_init__(self) -> None:
        try:
            Observing(self.method, self.percentile)
        except BadOption as error:
            raise ValueError(str(error)) from None
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}: give at least 1")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Plan, calibrate, insert.

        Raises:
            BadOption: There are no calibration data, a pattern matches nothing, or the target does not take a type.
            BadData: The data do not fit, or a calibrated range is missing.
        """
        planned = self._plan(graph, ctx)
        _warn(graph, planned, ctx)
        if not planned.groups and not planned.weights:
            return False
        return insert(graph, planned, self._ranges(graph, planned, ctx), ctx, self.weight_method)

    def _plan(self, graph: ir.Graph, ctx: Context) -> Plan:
        floats = matching(graph, self.exclude, "exclude") | matching(graph, self.keep_float, "keep-float")
        wide = matching(graph, self.wide, "wide")
        choices = Choices(self.activations, self.weights, self.per_channel, self.ops)
        return plan(graph, quantization_rules(ctx.target), choices, ctx, floats, wide)

    def _ranges(self, graph: ir.Graph, planned: Plan, ctx: Context) -> Ranges:
        found = ctx.kept(Ranges)
        if found is not None:
            if found.fingerprint != ir.fingerprint(graph):
                ctx.warn("the graph has changed since calibrate, and ranges may not fit: run it right before quantize")
            return found
        if ctx.data is None:
            raise BadOption("quantize needs calibration data: give --data")
        found = collect(
            graph, planned.requests, ctx.data,
            method=self.method, percentile=self.percentile, samples=self.samples, report=ctx.report_progress,
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
