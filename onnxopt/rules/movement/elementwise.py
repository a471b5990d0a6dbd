"""Nodes that compute each element of their output from the elements of their inputs in the same place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.purity import Purity

UNARY = frozenset(
    {
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip", "Cos",
        "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
        "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
        "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
"""Their further inputs, those of Clip, are scalars."""
BROADCASTING = frozenset(
    {
        "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
        "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
    }
)  # fmt: skip
"""All their inputs are broadcast to one shape, since opset 7 or, of Max, Mean, Min and Sum, 8."""
_LARGEST = 64
"""Nodes of a region; looking for larger ones from each of their exits would not be linear."""


@dataclass
class Region:
    """Elementwise nodes between the output of one node and one input of another, which nobody else reads into."""

    entry: ir.Node
    """The node whose first output they all start from."""
    nodes: list[ir.Node] = field(default_factory=list)
    """None where that is read directly."""
    scalar_rank: int = 0
    """The largest rank of the constants of one element among their inputs."""


def region_before(tensor: ir.Tensor, entries: dict[ir.Node, int], edit: ir.Edit, purity: Purity) -> Region | None:
    """The elementwise nodes that compute `tensor`, which one node reads, from the output of one of `entries`.

    All operands are of one shape, then, but constants of one element. None where there is no such region, or where
    someone else reads what is computed in it.
    """
    if tensor.producer in entries:
        return Region(tensor.producer)
    found: dict[ir.Node, list[ir.Tensor]] = {}
    entry: ir.Node | None = None
    scalar_rank = 0
    pending = [tensor]
    while pending:
        node = pending.pop().producer
        if node is None or node in found:
            if node is None:
                return None
            continue
        if node in entries:
            if entry is not node and entry is not None:
                return None
            entry = node
            continue
        operands = None if purity.called(node) else data_operands(node)
        if operands is None or len(found) == _LARGEST:
            return None
        found[node], rank = operands
        scalar_rank = max(scalar_rank, rank)
        pending += found[node]
    if entry is None or not _is_closed(tensor, entry, found, edit):
        return None
    return Region(entry, list(found), scalar_rank)


def _is_closed(exit_: ir.Tensor, entry: ir.Node, found: dict[ir.Node, list[ir.Tensor]], edit: ir.Edit) -> bool:
    """Whether only nodes of the region read what is computed in it, and one node its exit."""
    reads: dict[ir.Tensor, int] = {exit_: 1}
    for node in found:
        for tensor in node.inputs:
            reads[tensor] = reads.get(tensor, 0) + 1
    inner = [entry.outputs[0], *(node.outputs[0] for node in found)]
    return all(not edit.is_output(tensor) and edit.uses(tensor) == reads[tensor] for tensor in inner)


def data_operands(node: ir.Node) -> tuple[list[ir.Tensor], int] | None:
    """The inputs of an elementwise node but its constants of one element, and the largest rank of those.

    None where the node is not elementwise, or has no other inputs.
    """
    if not node.is_standard or len(node.outputs) != 1:
        return None
    if node.op in UNARY:
        return ([node.inputs[0]], 0) if node.inputs else None
    if node.op not in BROADCASTING or "axis" in node.attrs or "broadcast" in node.attrs:
        return None
    ranks = [_single_rank(tensor) for tensor in node.inputs]
    data = [tensor for tensor, rank in zip(node.inputs, ranks, strict=True) if rank is None]
    return (data, max((rank for rank in ranks if rank is not None), default=0)) if data else None


def _single_rank(tensor: ir.Tensor) -> int | None:
    """The rank of a constant of one element; None for other tensors."""
    if isinstance(tensor, ir.Constant):
        return len(tensor.shape) if math.prod(tensor.shape) == 1 else None
    value = known_value(tensor, limit=1)
    return None if value is None or value.size != 1 else value.ndim
