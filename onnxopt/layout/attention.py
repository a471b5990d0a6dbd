"""The Transposes of attention, which inference engines look for together with what is around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node

_BETWEEN = frozenset({"Add", "Cast", "Div", "Dropout", "IsNaN", "Mul", "Softmax", "Where"})
"""Operators between the two matrix products: scale, mask, and what guards against rows that are masked as a whole."""
_AROUND = frozenset(
    {"Cast", "Concat", "Div", "Expand", "Gather", "Mul", "Reshape", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators between a matrix product and the projections: heads, scale, keys and values of the past."""
_FEW = 12


def attention_transposes(scope: Graph) -> set[Node]:
    """The Transposes around each MatMul, Softmax, MatMul of a scope."""
    found: set[Node] = set()
    for node in scope.nodes:
        if node.is_op("Softmax"):
            firsts = _reach([node], _before, _BETWEEN)
            seconds = _reach([node], _after, _BETWEEN)
            if firsts and seconds:
                found.update(_transposes([*firsts, *seconds], _before))
                found.update(_transposes(seconds, _after))
    return found


def _reach(start: list[Node], step: Callable[[Node], Iterable[Node]], through: frozenset[str]) -> list[Node]:
    """The nearest MatMuls in one direction."""
    return [node for node in _walk(start, step, through) if node.is_op("MatMul")]


def _transposes(start: list[Node], step: Callable[[Node], Iterable[Node]]) -> list[Node]:
    return [node for first in start for node in _walk([first], step, _AROUND) if node.is_op("Transpose")]


def _walk(start: list[Node], step: Callable[[Node], Iterable[Node]], through: frozenset[str]) -> list[Node]:
    """Few nodes from a start on, through some operators, with those where that ends; the start itself left out."""
    found: list[Node] = []
    pending = list(start)
    seen = set(start)
    while pending and len(found) < _FEW:
        for node in step(pending.pop(0)):
            if node not in seen:
                seen.add(node)
                found.append(node)
                if node.is_standard and node.op in through:
                    pending.append(node)
    return found


def _before(node: Node) -> list[Node]:
    return [tensor.producer for tensor in node.inputs if tensor.producer is not None]


def _after(node: Node) -> list[Node]:
    return [reader for tensor in node.outputs for reader in tensor.outputs]
