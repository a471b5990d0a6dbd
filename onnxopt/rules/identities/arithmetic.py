"""Arithmetic with an operand that changes nothing."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import has, ints
from onnxopt.ir.values import Array
from onnxopt.rules.identities.facts import Facts, Rule, Verdict, kept_by, not_proven

_COMMUTES = ("Add", "Mul", "And", "Or", "Xor")
_LEGACY_BROADCAST_BELOW = 7
_TURNS_ZERO = "it turns -0.0 into 0.0"


def _neutral_operand(node: ir.Node, facts: Facts) -> Verdict:
    """x + -0.0, x - 0.0, x * 1, x / 1, x and true, ...: IEEE 754 says that each gives x, of either sign of zero."""
    if node.op in ("And", "Or") and node.inputs[0] is node.inputs[1]:
        return 0
    reason: str | None = None
    for operand in (1, 0) if node.op in _COMMUTES else (1,):
        value = known_value(node.inputs[operand])
        if value is None:
            continue
        neutral = is_neutral(node.op, value)
        if neutral is True and facts.opset < _LEGACY_BROADCAST_BELOW:
            return 0 if operand == 1 else None  # the second operand took the first one's shape
        if neutral is True:
            verdict = kept_by(node, facts, 1 - operand, value.shape)
            if isinstance(verdict, int):
                return verdict
            reason = reason or verdict
        elif isinstance(neutral, str):
            reason = reason or neutral
    return reason


def is_neutral(op: str, value: Array) -> bool | str | None:
    """Whether every element leaves the other operand as it is; or why that is nearly so."""
    if op in ("And", "Or", "Xor"):
        return bool(np.all(value == (op == "And"))) or None
    if op in ("Mul", "Div"):
        return bool(np.all(value == 1)) or None
    if np.any(value):
        return None
    if value.dtype.kind in "iu":
        return True
    negative = np.signbit(value.astype(np.float64))
    if np.all(negative == (op == "Add")):
        return True
    return _TURNS_ZERO


def _where(node: ir.Node, facts: Facts) -> Verdict:
    """Of a constant condition, or of the same value twice. onnxruntime's Where makes 0.0 of -0.0."""
    condition = known_value(node.inputs[0])
    if node.inputs[1] is node.inputs[2]:
        kept = 1
    elif condition is not None and condition.size and bool(condition.min()) == bool(condition.max()):
        kept = 1 if condition.min() else 2
    else:
        return None
    if not facts.keeps_shape(node, kept):
        return not_proven(node, kept)
    return kept if facts.is_integer(node.inputs[kept]) else _TURNS_ZERO


_KEEP_ZEROS = ("ReduceMax", "ReduceMin", "ReduceProd")


def _reduce(node: ir.Node, facts: Facts) -> Verdict:
    """Over axes of length 1, or over none at all. onnxruntime adds to 0.0, and so makes 0.0 of -0.0 in a sum."""
    axes = ints(node, 1, "axes")
    if not axes and (has(node, 1, "axes") and axes is None):
        return None
    if not axes and node.attr("noop_with_empty_axes", 0) == 1:
        return 0
    dims = facts.shapes.dims(node.inputs[0])
    if node.attr("keepdims", 1) != 1 or dims is None:
        return None
    reduced = axes or range(len(dims))
    if any(not -len(dims) <= axis < len(dims) or dims[axis] != 1 for axis in reduced):
        return None
    if node.op in _KEEP_ZEROS:
        return 0
    return 0 if facts.is_integer(node.inputs[0]) else _TURNS_ZERO


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "And", "Or", "Xor"), _neutral_operand),
    **dict.fromkeys((*_KEEP_ZEROS, "ReduceMean", "ReduceSum"), _reduce),
    "Where": _where,
}
"""A rule may count on the number of inputs that the operator requires."""
