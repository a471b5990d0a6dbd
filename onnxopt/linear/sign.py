"""Whether a tensor's numbers are certain not to be negative."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor

_NEVER_NEGATIVE = (
    "Abs",
    "Exp",
    "HardSigmoid",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
)
_OF_NONNEGATIVE = ("Add", "AveragePool", "Concat", "Div", "GlobalAveragePool", "Mul", "ReduceMean", "ReduceSum", "Sum")
"""What is not negative where all operands are not."""
_LIKE_THEIR_DATA = (
    "Dropout",
    "Expand",
    "Flatten",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_STEPS = 8


def is_nonnegative(tensor: Tensor, steps: int = _STEPS) -> bool:
    """Whether no number of a tensor is below zero; it may be NaN. Goes through so many operators at most."""
    value = known_value(tensor)
    if value is not None:
        return value.dtype.kind in "fiu" and bool((value >= 0).all())
    node = tensor.producer
    if node is None or not steps or not node.is_standard or tensor is not node.outputs[0]:
        return False
    if node.op in _NEVER_NEGATIVE:
        return True
    if node.op == "Clip":
        return _clips_at_zero(node)
    if node.op in ("Mul", "Pow") and len(node.inputs) == 2 and _is_even_power(node):
        return True
    if node.op in _LIKE_THEIR_DATA:
        return is_nonnegative(node.inputs[0], steps - 1)
    if node.op in _OF_NONNEGATIVE:
        data = node.inputs[:1] if node.op.startswith("Reduce") else node.inputs
        return all(is_nonnegative(operand, steps // 2) for operand in data)
    return False


def _clips_at_zero(node: Node) -> bool:
    low = node.attr("min")
    if low is None and len(node.inputs) > 1 and not node.inputs[1].is_empty():
        value = known_value(node.inputs[1])
        low = None if value is None or value.size != 1 else float(np.asarray(value, np.float64).reshape(-1)[0])
    return isinstance(low, float) and low >= 0


def _is_even_power(node: Node) -> bool:
    if node.op == "Mul":
        return node.inputs[0] is node.inputs[1]
    exponent = known_value(node.inputs[1])
    return exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) in (2.0, 4.0)
