"""What makes two nodes compute the same: value numbering's keys."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from onnx import TypeProto

from onnxopt.ir.digest import digest
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import MappedValues

_SMALL = 1024
"""Bytes, and elements, up to which constants are compared by content: the weights of a large model are not read."""
_COMMUTATIVE = frozenset({"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mul", "Or", "Xor"})
"""Exactly so in IEEE 754 arithmetic, the payload of a NaN apart. Max and Min are not: of 0.0 and -0.0 they may return
either. Add and Mul only since opset 7: before, the second operand alone was broadcast."""
_SYMMETRIC_FROM = 7


class Sameness:
    """Keys by which nodes are told equal. A tensor that was found equal to another stands for that one."""

    def __init__(self) -> None:
        self._number: dict[Tensor, Hashable] = {}

    def equate(self, tensor: Tensor, other: Tensor) -> None:
        """From now on, `tensor` counts as `other`."""
        self._number[tensor] = self.number(other)

    def number(self, tensor: Tensor) -> Hashable:
        """The same for tensors that are known to hold the same value."""
        number = self._number.get(tensor)
        if number is None:
            number = _content(tensor) if isinstance(tensor, Constant) else tensor
            self._number[tensor] = number
        return number

    def key(self, node: Node, opset: int) -> Hashable:
        """Equal for nodes of equal operator, attributes and inputs; None for a node that holds a graph."""
        attributes = [(name, _attribute(value)) for name, value in sorted(node.attrs.items())]
        if any(value is None for _, value in attributes):
            return None
        inputs: list[Hashable] = [self.number(tensor) if tensor.name else None for tensor in node.inputs]
        while inputs and inputs[-1] is None:
            inputs.pop()
        commutes = len(inputs) == 2 and node.is_op(*_COMMUTATIVE) and opset >= _SYMMETRIC_FROM
        return (
            node.op,
            "" if node.is_standard else node.domain,
            node.overload,
            tuple(attributes),
            frozenset(inputs) if commutes else tuple(inputs),
            tuple(bool(output.name) for output in node.outputs),
        )


def _content(constant: Constant) -> Hashable:
    """A small constant's content, or where a large one's content lies."""
    if max(constant.nbytes, math.prod(constant.shape)) <= _SMALL:
        return digest(constant)
    values = constant._values
    if isinstance(values, MappedValues):
        place = (values.file, values.offset, values.length)
        return (place, constant.dtype, constant.shape, constant._export_dtype)
    return (id(values), constant._export_dtype)  # of the first node of its key, which stays, so no id is used twice


def _attribute(value: Any) -> Hashable:
    """An attribute as something to compare: by kind too, since 1 == 1.0, and by sign of zero; None for a graph."""
    kind = value.__class__
    if kind is int:
        return value, kind
    if kind is list and value and all(item.__class__ is int for item in value):
        return tuple(value), int
    if isinstance(value, Graph):
        return None
    if isinstance(value, list):
        items = tuple(_attribute(item) for item in value)
        return None if None in items else ("list", items)
    if isinstance(value, Constant):
        return ("tensor", _content(value))
    if isinstance(value, Node.AttributeRef):
        return ("reference", value.name, value.type)
    if isinstance(value, TypeProto):
        return ("type", value.SerializeToString(deterministic=True))
    return (type(value).__name__, repr(value))
