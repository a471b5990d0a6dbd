"""Arithmetic that ends something an engine fuses as a whole: a normalization or a Gelu that is spelled out."""

from __future__ import annotations

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.affine import ARITHMETIC, data_input, looks_affine

_SPREADS = ("Pow", "Reciprocal", "Sqrt")


def ends_norm(step: Node) -> bool:
    """Whether an operation is the scale, or the shift after it, of data that are divided by their spread."""
    for _ in range(2):
        data = data_input(step) if step.is_op(*ARITHMETIC) else None
        if data is None or not looks_affine(step, data):
            return False
        before = data.producer
        if before is None:
            return False
        if before.is_op("Div", "Mul") and any(_comes_from(tensor, *_SPREADS) for tensor in before.inputs):
            return True
        step = before
    return False


def ends_gelu(step: Node) -> bool:
    """Whether an operation halves x (1 + erf(...)) or x (1 + tanh(...))."""
    data = data_input(step) if step.is_op("Mul") else None
    product = None if data is None else data.producer
    if product is None or not product.is_op("Mul"):
        return False
    value = known_value(step.inputs[1] if step.inputs[0] is data else step.inputs[0], limit=1)
    if value is None or value.size != 1 or value.reshape(-1)[0] != 0.5:
        return False
    sums = (tensor.producer for tensor in product.inputs if _comes_from(tensor, "Add"))
    return any(_comes_from(tensor, "Erf", "Tanh") for node in sums for tensor in node.inputs)


def _comes_from(tensor: Tensor, *ops: str) -> bool:
    return tensor.producer is not None and tensor.producer.is_op(*ops)
