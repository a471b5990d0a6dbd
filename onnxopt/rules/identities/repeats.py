"""Operators that do nothing after, or before, another one of their kind."""

from __future__ import annotations

import math
import sys

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import has
from onnxopt.rules.identities.facts import Facts, Rule, Verdict

_INVOLUTIONS = ("BitwiseNot", "Neg", "Not")
_ROUNDINGS = ("Ceil", "Floor", "Round")
_IDEMPOTENT = {"Abs": ("Abs",), "Sign": ("Sign",), **dict.fromkeys(_ROUNDINGS, _ROUNDINGS)}
"""What each operator leaves alone: the outputs of these."""
_NOT_NEGATIVE = ("Exp", "HardSigmoid", "Sigmoid", "Softmax", "Softplus", "Sqrt")
"""Operators on floating-point numbers that give 0 or more, -0.0 or NaN, which Relu and Clip keep."""
_MOVES = frozenset({"Expand", "Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that give out elements of their first input."""
_DEPTH = 8
"""So many of these are looked behind."""

Range = tuple[float, float]
"""The smallest and the largest number."""
_LARGEST = sys.float_info.max
"""Stands for the largest number of a type that is not known: below infinity, and not below another bound."""


def _twice(node: ir.Node, facts: Facts) -> Verdict:
    before: ir.Node | None = node.inputs[0].producer
    if before is None or before.op != node.op or not facts.knows(before):
        return None
    inner: ir.Tensor = before.inputs[0]
    return inner


def _again(node: ir.Node, facts: Facts) -> Verdict:
    before: ir.Node | None = node.inputs[0].producer
    return 0 if before is not None and before.op in _IDEMPOTENT[node.op] and facts.knows(before) else None


def _clamp(node: ir.Node, facts: Facts) -> Verdict:
    """Relu and Clip: of a tensor within the bounds; or read by narrower ones only."""
    own = _bounds(node, facts)
    if own is None or own[0] > own[1]:
        return None
    given = _range(node.inputs[0], facts)
    if given is not None and own[0] <= given[0] <= given[1] <= own[1]:
        return 0
    output = node.outputs[0]
    if facts.edit.is_output(output):
        return None
    readers = [reader for reader in output.outputs if output in reader.inputs]
    if readers and all(_is_narrower(reader, output, own, facts) for reader in readers):
        return 0
    return None


def _is_narrower(reader: ir.Node, output: ir.Tensor, own: Range, facts: Facts) -> bool:
    if reader.op not in ("Clip", "Relu") or not facts.knows(reader) or reader.inputs[0] is not output:
        return False
    bounds = _bounds(reader, facts) if output not in reader.inputs[1:] else None
    return bounds is not None and own[0] <= bounds[0] <= bounds[1] <= own[1]


def _bounds(node: ir.Node, facts: Facts) -> Range | None:
    """What Relu or Clip keeps its input in; None where it is not known."""
    if node.op == "Relu":
        return 0.0, math.inf
    found = []
    for index, (name, default) in enumerate((("min", -_LARGEST), ("max", _LARGEST)), 1):
        if not has(node, index, name):
            found.append(default)
            continue
        value = node.attr(name)
        array = known_value(node.inputs[index]) if value is None else None
        if array is not None and array.size == 1:
            value = float(array.reshape(-1)[0])
        if not isinstance(value, (int, float)) or math.isnan(value) or (value == 0 and math.copysign(1, value) < 0):
            return None  # which of 0.0 and -0.0 is the larger one, engines do not agree on
        found.append(float(value))
    return found[0], found[1]


def _range(tensor: ir.Tensor, facts: Facts) -> Range | None:
    """What the elements of a tensor are certainly in, NaN apart."""
    for _ in range(_DEPTH):
        node = tensor.producer
        if node is None or not facts.knows(node):
            return None
        if node.op in ("Clip", "Relu"):
            bounds = _bounds(node, facts)
            return bounds if bounds is not None and bounds[0] <= bounds[1] else None
        if node.op in _NOT_NEGATIVE or (node.op == "Abs" and facts.is_float(tensor)):  # of integers, one has no |x|
            return 0.0, math.inf
        if node.op not in _MOVES or not node.inputs:
            return None
        tensor = node.inputs[0]
    return None


RULES: dict[str, Rule] = {
    **dict.fromkeys(_INVOLUTIONS, _twice),
    **dict.fromkeys(_IDEMPOTENT, _again),
    **dict.fromkeys(("Clip", "Relu"), _clamp),
}
"""A rule may count on the number of inputs that the operator requires."""
