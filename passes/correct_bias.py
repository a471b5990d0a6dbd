"""`correct-bias`: what rounding adds to the mean of a layer's outputs is taken off its bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.edit import Edit
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.float_model import FloatModel
from onnxopt.quantization.mean_errors import Floats, QuantizedLayer, mean_errors, quantized_layers
from onnxopt.quantization.weights import quantize_bias

_ROUNDING = 1e-6
"""Of the largest bias: what float32 cannot tell apart."""


@dataclass(frozen=True)
class CorrectBias(Pass):
    """Take the mean error of each quantized layer's outputs, channel by channel, off its bias.

    Runs after `quantize`, in the same run, which leaves the float model (Nagel et al. 2019, "Data-free quantization
    through weight equalization and bias correction", section 4.2, with means of the calibration data). Rounded weights,
    data and biases all count: each quantized layer is compared with the float one on the same data, rounded and not, so
    that one run over the data does for all. A bias of int32 stays int32 in its scale; one in float stays in float; a
    layer without one gets one, as the target has biases. No node goes and the model's outputs keep their meaning.

    Only layers of the main graph with a bias for each channel: Conv, ConvTranspose and Gemm, not MatMul. Left alone,
    with a reason: a Gemm with alpha or beta, a bias that is no vector over the channels, and what a pass after
    `quantize` changed. A second run finds nothing but what int32 cannot hold.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = ("DequantizeLinear",)

    samples: int | None = None
    """How many samples to look at; none: all."""

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}: give at least 1")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Compare, correct.

        Raises:
            BadOption: There are no calibration data, or no float model.
            BadData: The data do not fit.
        """
        floats = ctx.kept(FloatModel)
        if floats is None:
            raise BadOption("correct-bias needs the float model: run it after quantize, in the same pipeline")
        if ctx.data is None:
            raise BadOption("correct-bias needs calibration data: give --data")
        layers = [layer for layer in quantized_layers(graph, floats) if _fits(layer, ctx)]
        if not layers:
            return False
        data = ctx.data if self.samples is None else ctx.data.take(self.samples)
        is_float = quantization_rules(ctx.target).bias == "float"
        with ir.edit(graph) as edit:
            for layer, error in zip(layers, mean_errors(floats, layers, data, ctx.report_progress), strict=True):
                _correct(edit, layer, error, ctx, is_float=is_float)
        return edit.changed


def _fits(layer: QuantizedLayer, ctx: Context) -> bool:
    node = layer.node
    if node.op == "Gemm" and (node.attr("alpha", 1.0) != 1.0 or node.attr("beta", 1.0) != 1.0):
        ctx.refuse("its bias is not simply added: alpha or beta is not 1", node)
        return False
    stored = _stored(layer.bias)
    if layer.bias is not None and (stored is None or len(stored.shape) != 1 or stored.shape != (_channels(layer),)):
        ctx.refuse(f"its bias '{layer.bias.name}' is no constant vector over its channels", node)
        return False
    return True


def _stored(bias: ir.Tensor | None) -> ir.Constant | None:
    """The numbers of a bias, dequantized or not."""
    if bias is not None and bias.producer is not None and bias.producer.is_op("DequantizeLinear"):
        bias = bias.producer.inputs[0]
    return bias if isinstance(bias, ir.Constant) else None


def _channels(layer: QuantizedLayer) -> int:
    node = layer.node
    shape = node.inputs[1].producer.inputs[0].shape
    if node.op == "ConvTranspose":
        return int(shape[1] * node.attr("group", 1))
    return int(shape[1] if node.op == "Gemm" and not node.attr("transB", 0) else shape[0])


def _correct(edit: Edit, layer: QuantizedLayer, error: Floats, ctx: Context, *, is_float: bool) -> None:
    node, bias = layer.node, layer.bias
    what = "the mean of its error off its bias"
    dequantize = None if bias is None else bias.producer
    if bias is not None and dequantize is not None:
        old, scale = dequantize.inputs[0].read(), dequantize.inputs[1].read()
        new = quantize_bias(old * scale.astype(np.float64) - error, scale)
        if np.array_equal(new, old) or not ctx.allow(what, node):
            return
        constant = dequantize.inputs[0]
        if edit.sole_reader(bias) is node and edit.sole_reader(constant) is dequantize:
            constant.values, edit.changed = new, True
        else:
            stored = ir.Constant(edit.fresh(constant.name), new)
            _dequantized(edit, node, stored, list(dequantize.inputs[1:]), dict(dequantize.attrs))
    elif bias is not None:
        real = np.asarray(bias.read(), np.float64)
        if np.abs(error).max(initial=0.0) <= _ROUNDING * np.abs(real).max(initial=1.0) or not ctx.allow(what, node):
            return
        edit.replace_input(node, 2, ir.Constant(edit.fresh(bias.name), (real - error).astype(bias.dtype)))
    elif not _added(edit, layer, error, ctx, is_float=is_float):
        return
    ctx.count("biases")


def _added(edit: Edit, layer: QuantizedLayer, error: Floats, ctx: Context, *, is_float: bool) -> bool:
    """Give a layer a bias."""
    node, quantize = layer.node, layer.data
    name = edit.fresh(f"{node.name or node.outputs[0].name}_bias")
    if is_float or quantize is None:
        if np.abs(error).max(initial=0.0) <= _ROUNDING or not ctx.allow("a bias for the mean of its error", node):
            return False
        _set(edit, node, ir.Constant(name, -error.astype(np.float32)))
        return True
    weight = node.inputs[1].producer.inputs[1]
    if not all(isinstance(each, ir.Constant) for each in quantize.inputs[1:]):
        return False
    scale = quantize.inputs[1].read().astype(np.float32) * weight.read().astype(np.float32)
    integers = quantize_bias(-error, scale)
    if not integers.any() or not ctx.allow("a bias for the mean of its error", node):
        return False
    parameters: list[ir.Tensor] = [ir.Constant(edit.fresh(f"{name}_scale"), np.asarray(scale))]
    parameters.append(ir.Constant(edit.fresh(f"{name}_zero_point"), np.zeros(scale.shape, np.int32)))
    _dequantized(edit, node, ir.Constant(name, integers), parameters, {"axis": 0} if scale.ndim else {})
    return True


def _dequantized(
    edit: Edit, node: ir.Node, stored: ir.Constant, parameters: list[ir.Tensor], attrs: dict[str, object]
) -> None:
    output = ir.Variable(edit.fresh(f"{stored.name}_dq"), np.float32, list(stored.shape))
    edit.insert_before(
        node, ir.Node("DequantizeLinear", attrs=attrs, inputs=[stored, *parameters], outputs=[output])
    )  # fmt: skip
    _set(edit, node, output)


def _set(edit: Edit, node: ir.Node, bias: ir.Tensor) -> None:
    if len(node.inputs) > 2:
        edit.replace_input(node, 2, bias)
    else:
        node.inputs.append(bias)
        edit.changed = True
