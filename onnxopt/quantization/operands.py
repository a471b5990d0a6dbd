"""Which inputs of an operator hold values, weights and biases: facts of ONNX, the same for every target."""

from __future__ import annotations

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.values import SparseValues

_FIRST = (
    "Clip", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GatherElements", "GridSample", "Identity", "Pad",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze", "Upsample",
)  # fmt: skip
"""Operators of which the first input holds values, and others sizes, limits, indices or places."""
_BEHIND_FIRST = ("Where",)
"""Operators of which all inputs but the first do."""
_WEIGHT_AND_BIAS = (
    "Conv", "ConvTranspose", "Gemm", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
    "RMSNormalization",
)  # fmt: skip
"""Operators with the data as input 0, a weight as input 1, and a bias as input 2."""


def value_inputs(node: ir.Node) -> list[int]:
    """The inputs that hold values or weights, biases apart; whether they are floats is another question."""
    skipped = bias_input(node)
    given = [index for index, tensor in enumerate(node.inputs) if tensor.name and index != skipped]
    if node.op in _BEHIND_FIRST:
        return [index for index in given if index]
    return given[:1] if node.op in _FIRST else given


def bias_input(node: ir.Node) -> int | None:
    """The input that is added to what a layer or normalization computes."""
    return 2 if node.op in _WEIGHT_AND_BIAS and len(node.inputs) > 2 and node.inputs[2].name else None


def channel_axis(node: ir.Node, index: int) -> int | None:
    """The axis of the weight at input `index` that counts output channels; None where it has none.

    ONNX, "Conv": weight [M, C/group, ...]; "ConvTranspose": [C, M/group, ...]; "Gemm": [K, N], or [N, K] with transB;
    "MatMul": [..., K, N], of which engines take a scale for each column only where it is a matrix.
    """
    if index != 1:
        return None
    rank = len(node.inputs[1].shape or ())
    if node.op == "Conv":
        return 0
    if node.op == "ConvTranspose":
        return 1 if node.attr("group", 1) == 1 else None
    if node.op == "Gemm":
        return 0 if node.attr("transB", 0) else 1
    return 1 if node.op == "MatMul" and rank == 2 else None


def is_scaled(node: ir.Node) -> bool:
    """Whether a Gemm multiplies its product or its bias by a number, so that the two do not simply add up."""
    return bool(node.op == "Gemm" and (node.attr("alpha", 1.0) != 1.0 or node.attr("beta", 1.0) != 1.0))


def constant(tensor: ir.Tensor) -> ir.Constant | None:
    """The constant that a tensor is, directly or by Constant and Identity nodes; None where it is computed."""
    while not isinstance(tensor, ir.Constant):
        producer = tensor.producer
        if producer is None or not producer.is_op("Constant", "Identity"):
            return None
        if producer.op == "Constant":
            value = producer.attr("value")
            if isinstance(value, ir.Constant):
                return None if isinstance(value._values, SparseValues) else value
            array = known_value(tensor)
            return None if array is None else ir.Constant(tensor.name, array)
        tensor = producer.inputs[0]
    return None if isinstance(tensor._values, SparseValues) else tensor


def limits_of(node: ir.Node) -> tuple[float | None, float | None] | None:
    """Between what a Relu or Clip leaves its values; None where that is not known."""
    if node.op == "Relu":
        return 0.0, None
    if node.op != "Clip":
        return None
    found: list[float | None] = []
    for index, name in ((1, "min"), (2, "max")):
        if name in node.attrs:
            found.append(float(node.attrs[name]))
        elif index >= len(node.inputs) or not node.inputs[index].name:
            found.append(None)
        else:
            value = known_value(node.inputs[index])
            if value is None or value.size != 1:
                return None
            found.append(float(value.reshape(())))
    return found[0], found[1]
