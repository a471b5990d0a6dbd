"""Rules for the elements of small vectors that are computed from corresponding ones, or reduced to one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.extents import at_most, floor_quotient, larger, product, smaller, trunc_quotient, unequal
from onnxopt.ir.proven.facts import FITS, Facts, Item, Vector

_BOOL = np.dtype("bool")


def where(node: Node, facts: Facts) -> Vector | None:
    """Where."""
    return _mapped(node, facts, _where, 3, result=1)


def _where(facts: Facts, condition: Item, one: Item, other: Item) -> Item:
    if condition is None:
        return one if one == other else None
    return one if condition else other


def _mapped(
    node: Node, facts: Facts, rule: Callable[..., Item], operands: int, *, result: int = 0, dtype: Any = None
) -> Vector | None:
    """A rule for corresponding elements of broadcast operands; nothing is read where one of them is not known."""
    vectors = []
    if operands not in (0, len(node.inputs)) or not all(map(facts.may_follow, node.inputs)):
        return None
    for tensor in node.inputs:
        vector = facts.vector(tensor)
        if vector is None:
            return None
        vectors.append(vector)
    length = max((len(vector.items) for vector in vectors), default=0)
    if (
        length == 0
        or any(len(vector.items) not in (1, length) for vector in vectors)
        or (facts.opset < 7 and length > 1)
    ):
        return None
    columns = zip(*(vector.items * (length // len(vector.items)) for vector in vectors), strict=True)
    kind = dtype or vectors[result].dtype
    return Vector(tuple(_fitting(rule(facts, *column), kind) for column in columns), kind)


def _fitting(item: Item, dtype: Any) -> Item:
    """What is left of an element: numbers here have no end, where a runtime's wrap around."""
    if isinstance(item, float):
        return float(dtype.type(item))
    factors = [factor for _, factor in item.terms] if isinstance(item, Dim) else [item]
    return None if any(isinstance(factor, int) and abs(factor) >= FITS for factor in factors) else item


def _lifted(rule: Callable[[Any, Any], Any]) -> Callable[[Node, Facts], Vector | None]:
    """A rule of two operands, of more by reduction; not for unknown elements."""

    def combine(facts: Facts, *items: Item) -> Item:
        if None in items or (
            any(isinstance(item, float) for item in items) and any(isinstance(item, Dim) for item in items)
        ):
            return None
        found: Item = reduce(lambda one, other: None if one is None else rule(one, other), items)
        return found

    return lambda node, facts: _mapped(node, facts, combine, 0)


def _divide(one: Any, other: Any) -> Item:
    if isinstance(one, float):
        return one / other if other else None
    return trunc_quotient(one, other)


def _larger(one: Any, other: Any) -> Item:
    return max(one, other) if isinstance(one, float) else larger(one, other)


def _smaller(one: Any, other: Any) -> Item:
    return min(one, other) if isinstance(one, float) else smaller(one, other)


def mod(node: Node, facts: Facts) -> Vector | None:
    """Mod of what is not negative, where fmod makes no difference."""

    def rest(facts: Facts, one: Item, other: Item) -> Item:
        if (
            isinstance(one, (int, Dim))
            and isinstance(other, (int, Dim))
            and facts.at_least(one, 0)
            and facts.at_least(other, 0)
        ):
            whole = floor_quotient(one, other)
            return None if whole is None else one - other * whole
        return None

    return _mapped(node, facts, rest, 2)


def _compared(rule: Callable[[Any, Any], Item]) -> Callable[[Node, Facts], Vector | None]:
    def compare(facts: Facts, one: Item, other: Item) -> Item:
        return (
            None
            if one is None or other is None or isinstance(one, float) or isinstance(other, float)
            else rule(one, other)
        )

    return lambda node, facts: _mapped(node, facts, compare, 2, dtype=_BOOL)


def _both(one: Any, other: Any) -> Item:
    return min(one, other) if isinstance(one, int) and isinstance(other, int) else None


def _either(one: Any, other: Any) -> Item:
    return max(one, other) if isinstance(one, int) and isinstance(other, int) else None


def _equal(one: Any, other: Any) -> Item:
    return 1 if one == other else 0 if unequal(one, other) else None


def _less(one: Any, other: Any) -> Item:
    return 1 if at_most(one + 1, other) else 0 if at_most(other, one) else None


def _less_or_equal(one: Any, other: Any) -> Item:
    return 1 if at_most(one, other) else 0 if at_most(other + 1, one) else None


def _unary(rule: Callable[[Any], Any]) -> Callable[[Node, Facts], Vector | None]:
    return lambda node, facts: _mapped(node, facts, lambda facts, item: None if item is None else rule(item), 1)


def _floats(rule: Callable[[Any], Any]) -> Callable[[Node, Facts], Vector | None]:
    return _unary(lambda item: float(rule(item)) if isinstance(item, float) else None)


def _absolute(item: Any) -> Item:
    if isinstance(item, Dim):
        return item if at_most(0, item) else None
    return abs(item)  # type: ignore[no-any-return]


def _whole(rule: Callable[[list[Any]], Any]) -> Callable[[Node, Facts], Vector | None]:
    """A reduction of a vector to one element."""

    def reduced(node: Node, facts: Facts) -> Vector | None:
        vector, dims = facts.vector(node.inputs[0]), facts.shapes.get(node.outputs[0])
        if vector is None or not vector.items or vector.dtype.kind != "i" or None in vector.items:
            return None
        if dims not in ((), (1,)):
            return None
        return Vector((_fitting(rule(list(vector.items)), vector.dtype),), vector.dtype)

    return reduced


ARITHMETIC: dict[str, Callable[[Node, Facts], Vector | None]] = {
    "Abs": _unary(_absolute),
    "Add": _lifted(operator.add),
    "And": _compared(_both),
    "Ceil": _floats(np.ceil),
    "Div": _lifted(_divide),
    "Equal": _compared(_equal),
    "Floor": _floats(np.floor),
    "Greater": _compared(lambda one, other: _less(other, one)),
    "GreaterOrEqual": _compared(lambda one, other: _less_or_equal(other, one)),
    "Less": _compared(_less),
    "LessOrEqual": _compared(_less_or_equal),
    "Max": _lifted(_larger),
    "Min": _lifted(_smaller),
    "Mod": mod,
    "Mul": _lifted(operator.mul),
    "Neg": _unary(operator.neg),
    "Not": _unary(lambda item: 1 - item),
    "Or": _compared(_either),
    "ReduceMax": _whole(lambda items: reduce(larger, items)),
    "ReduceMin": _whole(lambda items: reduce(smaller, items)),
    "ReduceProd": _whole(product),
    "ReduceSum": _whole(sum),
    "Sub": _lifted(operator.sub),
    "Where": where,
}
"""The elements of an operator's output."""
