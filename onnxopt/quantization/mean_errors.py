"""What rounding adds to the outputs of each quantized layer on average, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.streaming import Report, stream
from onnxopt.data import DataSet
from onnxopt.quantization.float_model import FloatModel

Floats = npt.NDArray[np.float64]

LAYERS = ("Conv", "ConvTranspose", "Gemm")
"""Layers that have a bias for each channel, on axis 1."""


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer that reads dequantized weights, and what it was in float."""

    node: ir.Node
    was: ir.Node

    @property
    def data(self) -> ir.Node | None:
        """The QuantizeLinear of its data; None where they stay in float."""
        dequantize = self.node.inputs[0].producer
        quantize = dequantize.inputs[0].producer if dequantize is not None and _dequantizes(dequantize) else None
        return quantize if quantize is not None and quantize.is_op("QuantizeLinear") else None

    @property
    def bias(self) -> ir.Tensor | None:
        """As the layer reads it."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 and self.node.inputs[2].name else None


def quantized_layers(graph: ir.Graph, floats: FloatModel) -> list[QuantizedLayer]:
    """The layers of a main graph that read a dequantized constant as weight, in order."""
    found = []
    for node in graph.nodes:
        if node.is_op(*LAYERS) and (weight := node.inputs[1].producer) is not None and _dequantizes(weight):
            was = floats.twins.get(node)
            if was is not None and all(isinstance(each, ir.Constant) for each in weight.inputs):
                found.append(QuantizedLayer(node, was))
    return found


def mean_errors(
    floats: FloatModel, layers: Sequence[QuantizedLayer], data: DataSet, report: Report | None
) -> list[Floats]:
    """Of each layer, [channels]: the mean of what it gives out, on its float data rounded, less what it gave in float.

    Every layer stands beside its float one and reads the same data, so that what it says is of this layer alone: where
    the layers before it are put right, its data are the float ones but for noise. So one run over the data does for all
    layers, in which they could also be corrected one by one.
    """
    graph = floats.graph.copy()
    nodes = dict(zip(floats.graph.nodes, graph.nodes, strict=True))
    names = [_beside(graph, nodes[layer.was], layer, f"mean_error_{index}") for index, layer in enumerate(layers)]
    sums: list[Floats | None] = [None] * len(layers)
    samples = 0
    for values in stream(graph, names, data, report=report):
        for index, name in enumerate(names):
            added = values[name].sum(axis=0, dtype=np.float64)
            sums[index] = added if sums[index] is None else sums[index] + added
        samples += len(values[names[0]])
    return [found / max(samples, 1) for found in sums if found is not None]


def _beside(graph: ir.Graph, was: ir.Node, layer: QuantizedLayer, name: str) -> str:
    """Put a quantized layer beside the float one; return the name of the tensor [samples, channels] of differences."""

    def node(op: str, inputs: list[ir.Tensor], attrs: dict[str, object] | None = None) -> ir.Tensor:
        output = ir.Variable(f"{name}_{len(graph.nodes)}")
        graph.nodes.append(ir.Node(op, attrs=attrs, inputs=inputs, outputs=[output]))
        return output

    def stored(tensor: ir.Tensor) -> ir.Tensor:
        dequantize = tensor.producer
        if dequantize is None or not _dequantizes(dequantize):
            return _same(tensor)
        return node("DequantizeLinear", [_same(each) for each in dequantize.inputs], dict(dequantize.attrs))

    data, quantize = was.inputs[0], layer.data
    if quantize is not None:
        parameters = [_same(each) for each in quantize.inputs[1:]]
        integers = node("QuantizeLinear", [data, *parameters], dict(quantize.attrs))
        data = node("DequantizeLinear", [integers, *map(_same, parameters)])
    weights = [stored(each) for each in layer.node.inputs[1:] if each.name]
    rounded = node(layer.node.op, [data, *weights], dict(layer.node.attrs))
    difference = node("Sub", [rounded, was.outputs[0]])
    if layer.node.op != "Gemm":
        difference = node("Flatten", [node("GlobalAveragePool", [difference])])
    return difference.name


def _same(tensor: ir.Tensor) -> ir.Tensor:
    return ir.Constant(f"{tensor.name}_beside", tensor.read()) if isinstance(tensor, ir.Constant) else tensor


def _dequantizes(node: ir.Node) -> bool:
    return node.is_op("DequantizeLinear")
