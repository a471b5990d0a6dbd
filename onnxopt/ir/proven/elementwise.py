"""Rules of operators that work on each element, or on corresponding elements of broadcast operands."""

from __future__ import annotations

from collections.abc import Sequence

from onnxopt.ir.node import Node
from onnxopt.ir.proven.extents import all_joined
from onnxopt.ir.proven.facts import Dims, Facts

_BROADCAST_FROM = 7
"""Before, the second operand took the shape of the first. Max, Min, Sum and Mean asked for equal shapes until 8."""


def first(node: Node, facts: Facts) -> Dims | None:
    """As the first input."""
    return facts.dims(node, 0)


def first_twice(node: Node, facts: Facts) -> list[Dims | None]:
    """As the first input, two outputs: Dropout and its mask."""
    return [facts.dims(node, 0)] * 2


def broadcast(node: Node, facts: Facts) -> Dims | None:
    """Multidirectional broadcasting (operator specification, Broadcasting in ONNX)."""
    if facts.opset < _BROADCAST_FROM or len(node.inputs) == 1:
        return facts.dims(node, 0)
    shapes = []
    for tensor in node.inputs:
        dims = facts.dims_of(tensor)
        if dims is None:
            return None
        shapes.append(dims)
    return broadcast_dims(shapes)


def broadcast_dims(shapes: Sequence[Dims]) -> Dims:
    """The common shape of several, given that there is one."""
    widest = max(shapes, key=len)
    if all(dims == widest or not dims for dims in shapes):
        return widest
    rank = len(widest)
    columns = zip(*((1,) * (rank - len(dims)) + dims for dims in shapes), strict=True)
    return tuple(all_joined(column) for column in columns)


def dynamic_quantize(node: Node, facts: Facts) -> list[Dims | None]:
    """DynamicQuantizeLinear: the quantized tensor, its scale, its zero point."""
    return [facts.dims(node, 0), (), ()]
