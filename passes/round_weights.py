"""`round-weights`: weights that lie on the integers' grid, rounded so that layers give out what they gave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.activations.second_order import SecondOrder, gathered
from onnxopt.errors import BadOption
from onnxopt.ir.edit import Edit
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.layer import Layer, read_layer
from onnxopt.linear.match import NoMatch
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.quantization import IntegerName
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.plan import Choices, Stored, plan
from onnxopt.quantization.rounding.rounded_layer import round_layer
from onnxopt.quantization.selection import matching
from onnxopt.quantization.weights import WeightMethod


@dataclass(frozen=True)
class RoundWeights(Pass):
    """Round the weights of layers to the integers that `quantize` will store, each error made good by the others.

    Runs upon the float graph, right before `quantize`, with the same options: the graph stays in float, and `quantize`
    finds weights that lie on its grid. Layer by layer the squared error of what the layer gives out on the calibration
    data is made small, to second order (GPTQ: Frantar et al. 2022): with H = E[x x^T] of its data, as columns for a
    Conv and group by group, weights are rounded one after the other, and what an error does to the output is taken off
    the weights that are still to come. Where a layer has a bias, the mean of the error goes there, and H is the
    covariance. An output that would come out worse than by rounding to nearest is rounded to nearest.

    Zeros stay zeros. The data are streamed once, or more often where the moments of all layers exceed 200 MB; memory
    does not grow with the samples. Left alone, with a reason: weights that other nodes read, that are the first factor
    of a product, or are no matrix; and ConvTranspose. A second run finds everything on the grid and changes nothing.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = ("Conv", "Gemm", "MatMul")

    weights: IntegerName | None = None
    """What `quantize` will make weights; none: what the target has them as."""
    per_channel: bool = True
    """Whether `quantize` will give each output channel a scale, where the target takes that."""
    weight_method: WeightMethod = "minmax"
    """How weights are clipped: not at all, or where the squared error is smallest."""
    keep_float: tuple[str, ...] = ()
    """Nodes that will stay in float: globs of names and operators."""
    samples: int | None = 256
    """How many samples to look at; none: all. More take longer and hardly tell more."""

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}: give at least 1")
        if self.weights is not None and self.weights.startswith("u"):
            raise ValueError(f"weights={self.weights} have a zero point, and what is rounded here has none: give int8")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Gather the moments, round, write.

        Raises:
            BadOption: There are no calibration data, a pattern matches nothing, or the target does not take a type.
            BadData: The data do not fit.
        """
        if ctx.data is None:
            raise BadOption("round-weights needs calibration data: give --data")
        data = ctx.data if self.samples is None else ctx.data.take(self.samples)
        floats = matching(graph, self.keep_float, "keep-float")
        choices = Choices(weights=self.weights, per_channel=self.per_channel)
        planned = plan(graph, quantization_rules(ctx.target), choices, Context(ctx.target), floats)
        setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
        with ir.edit(graph) as edit:
            found = list(_layers(edit, planned.weights, setting, ctx))
            for (layer, stored), seen in gathered(edit.main, found, _layer, data, ctx.report_progress):
                self._round(edit, layer, stored, seen, ctx)
        return edit.changed

    def _round(self, edit: Edit, layer: Layer, stored: Stored, seen: SecondOrder, ctx: Context) -> None:
        try:
            change = round_layer(layer, seen, stored.integer, stored.axis, self.weight_method)
        except NoMatch as no:
            ctx.refuse(str(no), layer.node)
            return
        if ctx.allow(f"{stored.constant.name} rounded for {stored.integer.name}", layer.node):
            layer.write(edit, *change)
            ctx.count("layers")


def _layer(found: tuple[Layer, Stored]) -> Layer:
    return found[0]


def _layers(edit: Edit, weights: Sequence[Stored], setting: Setting, ctx: Context) -> Iterator[tuple[Layer, Stored]]:
    for stored in weights:
        node, index = stored.use
        if not node.is_op("Conv", "Gemm", "MatMul"):
            continue
        try:
            if index != 1:
                raise NoMatch("its weight is the first factor")
            layer = read_layer(node, edit.main.opset, setting)
            if edit.sole_reader(node.inputs[1]) is not node:
                raise NoMatch(f"its weight '{stored.constant.name}' is read by others too")
            if not stored.integer.symmetric:
                raise NoMatch("its weights will have a zero point")
            if node.inputs[0].producer is None and node.inputs[0] not in edit.main.inputs:
                raise NoMatch(f"its data '{node.inputs[0].name}' are constant")
        except NoMatch as no:
            ctx.refuse(str(no), node)
            continue
        yield layer, stored
