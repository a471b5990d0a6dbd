"""How two nodes in a row that only change the shape of a tensor are written as one, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnxopt import ir
from onnxopt.ir.proven import Dim, Dims, Shape, has, ints, lowest
from onnxopt.ir.proven.extents import exact_quotient
from onnxopt.rules.movement.views import Term, Terms, View, places_of, root, through, without

_AXES_ARE_INPUT_FROM = 13
_RESHAPE_TAKES_INPUT_FROM = 5


@dataclass(frozen=True)
class Plan:
    """What stands for both nodes: an operator on the first one's input."""

    op: str
    """Empty where the input of the first node stands for the output of the second."""
    ints: list[int] | None = None
    """Target shape or axes; None where the second node keeps its own, and reads the first one's input."""
    attrs: dict[str, Any] = field(default_factory=dict)


NOTHING = Plan("")
Verdict = Plan | str | None
"""What to do; or why nothing, of a near match; or None."""


@dataclass(frozen=True)
class Pair:
    """Two nodes of `VIEWS`, the second reading the first's output, with elementwise nodes between them or not."""

    first: ir.Node
    second: ir.Node
    dims: Callable[[ir.Tensor], Dims | None]
    elements: Callable[[ir.Tensor], Sequence[int | Dim | None] | None]
    opset: int
    nonempty: bool = False
    """Whether no dimension of a model input is 0."""

    def plan(self) -> Verdict:
        """How both are written as one."""
        by_axes = self._by_axes()
        if by_axes is not None:
            return by_axes
        start = root(self._shape(self.first.inputs[0]))
        between = through(self.first, start) or View(None)
        end = self._refined(through(self.second, between) or View(None, nonzero=between.nonzero, ones=between.ones))
        if self._may_read_root(start, end):
            return NOTHING if is_same(start, end) else Plan(self.second.op)
        if end.terms is None:
            return self._unknown(start)
        if is_same(start, end):
            return NOTHING
        plan = as_squeeze(start, end) or as_unsqueeze(start, end)
        reshape = as_reshape(start, end, self._nonzero_axes())
        if isinstance(reshape, Plan) and self.opset >= _RESHAPE_TAKES_INPUT_FROM:
            return reshape
        return plan or (reshape if isinstance(reshape, str) else "opset 4 has no Reshape of every type")

    def _shape(self, tensor: ir.Tensor) -> Shape | None:
        dims = self.dims(tensor)
        return None if dims is None else tuple(dim if isinstance(dim, int) else None for dim in dims)

    def _refined(self, end: View) -> View:
        """The view, with what the certain shapes tell of the dimensions that the two nodes leave open."""
        before, after = self.dims(self.first.inputs[0]), self.dims(self.second.outputs[0])
        if after is None or (end.terms is not None and len(end.terms) != len(after)):
            return end
        terms: list[Term | None] = list(end.terms) if end.terms is not None else [None] * len(after)
        for axis, dim in enumerate(after):
            if isinstance(dim, int):
                terms[axis] = Term(dim)
            elif before is not None and axis < len(before) and before[axis] == dim:
                terms[axis] = Term(1, (axis,))
        return replace(end, terms=tuple(terms))

    def _nonzero_axes(self) -> frozenset[int]:
        """Axes of the first input that cannot be 0, or the nodes would fail: a -1 stands beside them."""
        before = self.dims(self.first.inputs[0]) or ()
        beside: list[int | Dim] = []
        for node in (self.first, self.second):
            target, after = self._target(node), self.dims(node.outputs[0])
            if target is not None and after is not None and len(target) == len(after) and -1 in target:
                beside += [dim for wanted, dim in zip(target, after, strict=True) if wanted != -1]
        return frozenset(
            axis
            for axis, dim in enumerate(before)
            if self._is_positive(dim) or any(exact_quotient(other, dim) is not None for other in beside)
        )

    def _target(self, node: ir.Node) -> Sequence[int | Dim | None] | None:
        if node.op != "Reshape":
            return None
        return ints(node, 1, "shape") or (self.elements(node.inputs[1]) if len(node.inputs) > 1 else None)

    def _unknown(self, start: View) -> str | None:
        if start.terms is None:
            return f"the rank of '{self.first.inputs[0].name}' is not certain"
        return None

    def _by_axes(self) -> Verdict:
        """What needs no rank: Squeeze and Unsqueeze of the same axes, or of axes counted from the front."""
        kinds = (self.first.op, self.second.op)
        if not {*kinds} <= {"Squeeze", "Unsqueeze"} or not all(has(n, 1, "axes") for n in (self.first, self.second)):
            return None
        one, two = ints(self.first, 1, "axes"), ints(self.second, 1, "axes")
        if not one or not two:
            return None
        if kinds[0] != kinds[1]:
            rank = self._rank_between(len(one))
            same = sorted(one) == sorted(two) if rank is None else places_of(one, rank) == places_of(two, rank)
            return NOTHING if same else None
        merge = _merged_unsqueezes if kinds[0] == "Unsqueeze" else _merged_squeezes
        shape = self.dims(self.first.inputs[0])
        merged = merge(one, two, None if shape is None else len(shape))
        return None if merged is None else Plan(kinds[0], merged)

    def _rank_between(self, axes: int) -> int | None:
        """The rank that the axes of an Unsqueeze and of the Squeeze after it, or the other way round, count in."""
        shape = self.dims(self.first.inputs[0])
        return None if shape is None else len(shape) + (axes if self.first.op == "Unsqueeze" else 0)

    def _may_read_root(self, start: View, end: View) -> bool:
        """Whether the second node gives the same if it reads the first one's input."""
        if self.second.op == "Reshape":
            return self._target_stands_alone()
        direct = through(self.second, start)
        one, other = None if direct is None else direct.normal(), end.normal()
        return one is not None and None not in one and one == other

    def _target_stands_alone(self) -> bool:
        """Whether the target of a Reshape copies nothing, or what the first node left as it was."""
        allowzero = self.second.attr("allowzero", 0)
        if allowzero == 1:
            return True
        target = self._target(self.second)
        if target is None or allowzero != 0:
            return False
        return all(self._copies_nothing(axis, wanted) for axis, wanted in enumerate(target))

    def _copies_nothing(self, axis: int, wanted: int | Dim | None) -> bool:
        """Whether this item of a target means the same before and after the first node, also where it is 0."""
        before, between = self.dims(self.first.inputs[0]), self.dims(self.first.outputs[0])
        if wanted is not None and (wanted == -1 or self._is_positive(wanted)):
            return True
        if between is not None and axis >= len(between):  # a 0 would copy what is not there, and fail
            return True
        if before is None or between is None or axis >= len(before):
            return False
        if before[axis] == between[axis]:
            return True
        vanish = (before[axis], between[axis])
        return isinstance(wanted, Dim) and all(exact_quotient(dim, wanted) is not None for dim in vanish)

    def _is_positive(self, dim: int | Dim) -> bool:
        return (lowest(dim, self.nonempty) or 0) > 0


def is_same(start: View, end: View) -> bool:
    """Whether a tensor has the root's very shape."""
    if start.terms is None or end.terms is None or len(start.terms) != len(end.terms):
        return False
    return None not in end.terms and _normal(start, end.ones) == end.normal()


def as_reshape(start: View, end: View, nonzero: frozenset[int] = frozenset()) -> Plan | str:
    """One Reshape: numbers, 0 where a dimension of the input stays in its place, -1 for at most one other."""
    before, after = _normal(start, end.ones), end.normal()
    assert after is not None
    target: list[int] = []
    copied: set[int] = set()
    for place, term in enumerate(after):
        if term is not None and not term.axes and term.number > 0:
            target.append(term.number)
        elif term is not None and term == _at(start, before, place):
            target.append(0)
            copied.update(term.axes or (place,))
        else:
            target.append(-1)
    if target.count(-1) > 1:
        return "more than one of its dimensions would have to be found at run time"
    if -1 in target and not copied <= end.nonzero | nonzero:
        return "a dimension that may be 0 would stand beside a -1"
    return Plan("Reshape", target)


def as_unsqueeze(start: View, end: View) -> Plan | None:
    """One Unsqueeze."""
    before, after = _normal(start, end.ones), end.normal()
    axes = None if before is None or after is None else _extra_ones(after, before)
    return Plan("Unsqueeze", axes) if axes else None


def as_squeeze(start: View, end: View) -> Plan | None:
    """One Squeeze."""
    before, after = _normal(start, end.ones), end.normal()
    axes = None if before is None or after is None else _extra_ones(before, after)
    return Plan("Squeeze", axes) if axes else None


def _extra_ones(long: Terms, short: Terms) -> list[int] | None:
    """The places of `long` whose 1 `short` does not have, where that is all that they differ in."""
    axes: list[int] = []
    at = 0
    for place, term in enumerate(long):
        if term is not None and at < len(short) and term == short[at]:
            at += 1
        elif term == Term(1):
            axes.append(place)
        else:
            return None
    return axes if at == len(short) else None


def _at(start: View, before: Terms | None, place: int) -> Term | None:
    """The term that a 0 in this place of a Reshape's target copies."""
    if before is None:
        return Term(1, (place,)) if start.is_root else None
    return before[place] if place < len(before) else None


def _normal(start: View, ones: frozenset[int]) -> Terms | None:
    return None if start.terms is None else tuple(without(term, ones) for term in start.terms)


def _merged_unsqueezes(one: list[int], two: list[int], rank: int | None) -> list[int] | None:
    """Axes in the last output: those of the second, and those of the first moved along by them."""
    if rank is None and min(*one, *two) < 0:
        return None
    total = max(*one, *two) + len(one) + len(two) + 1 if rank is None else rank + len(one) + len(two)
    first, second = places_of(one, total - len(two)), places_of(two, total)
    if first is None or second is None:
        return None
    old = [axis for axis in range(total) if axis not in second]
    return sorted({*second, *(old[axis] for axis in first)})


def _merged_squeezes(one: list[int], two: list[int], rank: int | None) -> list[int] | None:
    """Axes of the first input: those of the first, and those of the second counted without them."""
    if rank is None and min(*one, *two) < 0:
        return None
    total = max(*one, *two) + len(one) + len(two) + 1 if rank is None else rank
    first = places_of(one, total)
    left = [axis for axis in range(total) if first is not None and axis not in first]
    second = places_of(two, len(left))
    return None if first is None or second is None else sorted({*first, *(left[axis] for axis in second)})


def spelled(plan: Plan, opset: int) -> bool:
    """Whether the operator takes its integers as an input, in this opset."""
    return opset >= (_AXES_ARE_INPUT_FROM if plan.op in ("Squeeze", "Unsqueeze") else _RESHAPE_TAKES_INPUT_FROM)
