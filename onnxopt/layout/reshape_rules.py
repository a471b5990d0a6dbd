"""How Reshape and Flatten move past a permutation: where they merge or split whole axes, or axes have length 1."""

from __future__ import annotations

from collections.abc import Sequence

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.proven import Dims, ints
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.extents import exact_quotient
from onnxopt.layout.axis_rules import data_move, normal_axis, optional, set_attribute, set_ints
from onnxopt.layout.move import Arrival, Facts, Move, Rule
from onnxopt.layout.permutation import Perm, inverse, keeps_order

Group = tuple[list[int], list[int]]
"""Axes before and axes after that hold the same elements: one of the two lists has one axis."""


def _reshape(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    target = ints(node, 1, "shape")
    if at.index != 0 or target is None:
        if at.index == 0 and at.is_input:
            raise NoMatch("its shape is computed at run time")
        return None
    before, after = facts.dims(node.inputs[0]), facts.dims(node.outputs[0])
    if before is None or after is None or len(after) != len(target):
        raise NoMatch("its shapes are not certain")
    if at.is_input and keeps_order(at.perm, before):
        moved = _same_order(target, at.perm, before, node.attr("allowzero", 0) != 0)
        if moved is not None:
            return data_move(node, at.perm, None, set_ints(1, "shape", moved))
    groups = None if 0 in before or 0 in after else whole_axes(before, after)
    if groups is None:
        raise NoMatch("it cuts across axes, or their lengths are not certain")
    return _regrouped(node, at, groups, target, before, after)


def _same_order(target: Sequence[int], perm: Perm, before: Dims, zero_is_zero: bool) -> list[int] | None:
    """The target shape from an input whose axes of length 1 stand elsewhere: only a 0 looks at them."""
    found = []
    for index, dim in enumerate(target):
        if dim == 0 and not zero_is_zero and perm[index : index + 1] != (index,):
            known = before[index] if index < len(before) else None
            if not isinstance(known, int) or not known:
                return None
            dim = known
        found.append(dim)
    return found


def whole_axes(before: Dims, after: Dims) -> list[Group] | None:
    """The groups in which axes are merged into one or one is split; None where that is not certain."""
    groups: list[Group] = []
    one = other = 0
    while one < len(before) or other < len(after):
        group: Group = ([], [])
        left: int | Dim = 1
        right: int | Dim = 1
        while not (group[0] and group[1] and left == right):
            if one < len(before) and (other == len(after) or exact_quotient(right, left) is not None):
                group[0].append(one)
                left, one = left * before[one], one + 1
            elif other < len(after) and (one == len(before) or exact_quotient(left, right) is not None):
                group[1].append(other)
                right, other = right * after[other], other + 1
            else:
                break
        if left != right:
            return None
        if group[0] and group[1]:
            groups.append(group)
        elif groups:  # axes of length 1 at the end
            groups[-1][0].extend(group[0])
            groups[-1][1].extend(group[1])
    return groups if groups and all(min(map(len, group)) == 1 for group in groups) else None


def _regrouped(node: Node, at: Arrival, groups: list[Group], target: Sequence[int], before: Dims, after: Dims) -> Move:
    """Groups change places as wholes."""
    side = 0 if at.is_input else 1
    places = [[at.perm[axis] for axis in group[side]] for group in groups]
    if any(axes != list(range(axes[0], axes[0] + len(axes))) for axes in places):
        raise NoMatch("it merges or splits axes that the Transpose tears apart")
    order = sorted(range(len(groups)), key=lambda index: places[index][0])
    axes = [[axis for index in order for axis in groups[index][which]] for which in (0, 1)]  # old ones, in new order
    zero_copies = node.attr("allowzero", 0) == 0
    new = _target(
        [target[axis] for axis in axes[1]], [after[a] for a in axes[1]], [before[a] for a in axes[0]], zero_copies
    )
    inputs = (optional(inverse(tuple(axes[0]))), *[None] * (len(node.inputs) - 1))
    return Move(inputs, (optional(inverse(tuple(axes[1]))),), set_ints(1, "shape", new))


def _target(
    wanted: Sequence[int], dims: Sequence[int | Dim], given: Sequence[int | Dim], zero_copies: bool
) -> list[int]:
    """The numbers that ask for `dims`: as it was asked for them before, where that still says the same.

    A dimension that may be 0 is asked for by a -1 only where all others are numbers, or where it was before.
    """
    found = []
    for axis, (number, dim) in enumerate(zip(wanted, dims, strict=True)):
        copied = zero_copies and axis < len(given) and given[axis] == dim
        found.append(dim if isinstance(dim, int) else -1 if number == -1 else 0 if copied else None)
    if found.count(None) == 1 and not any(isinstance(number, int) and number <= 0 for number in found):
        found[found.index(None)] = -1
    if None in found:
        raise NoMatch("its shape cannot be written for the other order of axes")
    return [
        -1 if old == -1 and -1 not in found else new for old, new in zip(wanted, found, strict=True) if new is not None
    ]


def _flatten(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    shape = facts.shape(node.inputs[0]) if at.is_input else None
    if shape is None or not keeps_order(at.perm, shape):
        return None
    axis = node.attr("axis", 1)
    axis = len(shape) if axis == len(shape) else normal_axis(node, 1, len(shape))
    first = {at.perm[index] for index, dim in enumerate(shape[:axis]) if dim != 1}
    last = {at.perm[index] for index, dim in enumerate(shape) if index >= axis and dim != 1}
    place = max(first, default=-1) + 1
    if any(other < place for other in last):
        return None
    return data_move(node, at.perm, None, set_attribute("axis", place))


RULES: dict[str, Rule] = {"Flatten": _flatten, "Reshape": _reshape}
