"""Operators that compute each element by itself, with numpy's broadcasting; and layers that are per channel."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.pruning.channels.links import Links

ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot"),
    *("BitwiseOr", "BitwiseXor", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu", "Equal"),
    *("Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf"),
    *("IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not"),
    *("Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh"),
    *("Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor"),
)
POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
_BROADCASTING = 7
"""Since this opset, operands are aligned at their last axes; before it, by attributes."""


def elementwise(node: Node, links: Links) -> None:
    """Axes aligned from the last one: those of one size go together, and one of size 1 is repeated."""
    tensors = [tensor for tensor in node.inputs if tensor.name]
    ranks = [links.rank(tensor) for tensor in tensors]
    if None in ranks or (links.opset < _BROADCASTING and (node.attr("broadcast") or len(set(ranks)) > 1)):
        return
    for output in node.outputs:
        rank = links.rank(output) if output.name else None
        for axis in range(rank or 0):
            places = [axis - (rank or 0) + (own or 0) for own in ranks]
            _aligned(output, axis, list(zip(tensors, places, strict=True)), links)


def _aligned(output: Tensor, axis: int, aligned: list[tuple[Tensor, int]], links: Links) -> None:
    wide = []
    for tensor, place in aligned:
        if place < 0:
            continue
        size = links.size(tensor, place)
        if size is None:
            return  # it may be as large as the others, or 1
        if size > 1:
            wide.append((tensor, place))
    for tensor, place in wide:
        links.same(tensor, place, output, axis)


def pool(node: Node, links: Links) -> None:
    """A pool works on every channel by itself; the indices that MaxPool can give out count the channels too."""
    if len([output for output in node.outputs if output.name]) == 1:
        for axis in (0, 1):
            links.same(node.inputs[0], axis, node.outputs[0], axis)


def quantization(node: Node, links: Links) -> None:
    """QuantizeLinear, DequantizeLinear: each element by itself, with one scale, or one for each index of an axis."""
    data, output = node.inputs[0], node.outputs[0]
    rank = links.rank(data)
    parameters = [tensor for tensor in node.inputs[1:] if tensor.name]
    if rank is None or any((links.rank(tensor) or 0) > 1 for tensor in parameters) or node.attr("block_size", 0):
        return
    for axis in range(rank):
        links.same(data, axis, output, axis)
    axis = node.attr("axis", 1)
    for tensor in parameters:
        if links.rank(tensor) == 1:
            links.same(tensor, 0, data, axis % rank)
