"""`quantize-dynamic`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.matching import NoMatch
from onnxopt.linear.layer_weights import Axes, Selection, Weight
from onnxopt.linear.match import constant_of
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.quantization.dynamic_layers import CONTRIB, DynamicLayers

_SINCE = 11
"""The opset that DynamicQuantizeLinear came with."""
_TARGETS = (None, "onnx")
_OWN = ("Attention", "LSTM")
"""Those that become operators of onnxruntime's own domain."""


@dataclass(frozen=True)
class QuantizeDynamic(Pass):
    """Compute MatMul, Gemm, LSTM and onnxruntime's Attention in integers, without calibration data.

    Weights become int8, symmetric (0 stays 0), with a scale for each output channel; activations become uint8 as the
    model runs, each with the range that it has then. MatMul and Gemm become DynamicQuantizeLinear and MatMulInteger,
    times the scales, in the order that onnxruntime fuses; LSTM its DynamicQuantizeLSTM; Attention its QAttention; Conv,
    where asked for, ConvInteger, which is seldom faster. What several layers read is quantized once.

    For target onnx only: other engines take no DynamicQuantizeLinear. float32 layers with constant weights, in every
    scope; LSTM and Attention not in functions. A product of two activations stays float, as do GRU and RNN, for which
    there is no kernel. Tables of Gather: see `quantize-weights{include=Gather}`.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = ("Attention", "Conv", "Gemm", "LSTM", "MatMul")

    ops: tuple[Literal["Attention", "Conv", "Gemm", "LSTM", "MatMul"], ...] = ("Attention", "Gemm", "LSTM", "MatMul")
    """The operators to quantize."""
    per_channel: bool = True
    """A scale for each output channel of a weight; otherwise one for the weight."""
    include: tuple[str, ...] = ("*",)
    """Patterns of layers, weights or operators: `encoder.*`. One that matches nothing is an error."""
    exclude: tuple[str, ...] = ()
    """Patterns of those to leave in float."""
    smallest: int = 1024
    """Bytes of a weight below which its layer is left in float."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed. BadOption for other targets and old opsets."""
        if ctx.target not in _TARGETS:
            raise BadOption(f"quantize-dynamic: {ctx.target} takes no DynamicQuantizeLinear; use quantize, with --data")
        selection = Selection(self.include, self.exclude)
        selection.require_matches(graph, "quantize-dynamic", self.ops)
        with ir.edit(graph) as edit:
            layers = DynamicLayers(edit, self.per_channel, ctx.allow)
            for scope in ir.every_graph(graph):
                for node in list(scope.nodes):
                    if node.op in self.ops and self._is_wanted(node, selection):
                        self._quantize(node, scope, layers, ctx)
        return edit.changed

    def _is_wanted(self, node: ir.Node, selection: Selection) -> bool:
        """Whether it is one of the layers asked for, with a weight that is large enough."""
        if not (node.domain == CONTRIB if node.op == "Attention" else node.is_standard):
            return False
        weight = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if weight is None or weight.nbytes < max(self.smallest, 1):
            return False
        return selection.takes(Weight(node.inputs[1], weight, Axes(None, None), (node,)))

    def _quantize(self, node: ir.Node, scope: ir.Graph, layers: DynamicLayers, ctx: Context) -> None:
        rewrite: Callable[[ir.Node], None] = {
            "Attention": layers.attention,
            "Conv": layers.conv,
            "Gemm": layers.gemm,
            "LSTM": layers.lstm,
            "MatMul": layers.matmul,
        }[node.op]
        if scope.opset < _SINCE:
            raise BadOption(f"quantize-dynamic: DynamicQuantizeLinear needs opset {_SINCE} and the model has "
                            f"{scope.opset}; run convert-opset{{opset={_SINCE}}} first")  # fmt: skip
        try:
            if node.op in _OWN and isinstance(scope, ir.Function):
                raise NoMatch("it is in a function, which imports no operators of onnxruntime")
            rewrite(node)
        except NoMatch as reason:
            if str(reason):
                ctx.refuse(str(reason), node)
