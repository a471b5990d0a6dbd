"""How many units each group loses, so that a share of units or of MACs is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.linear.match import is_given
from onnxopt.pruning.channels.importance import Curve
from onnxopt.pruning.channels.links import Axis, Hidden, Index
from onnxopt.pruning.channels.removal import Plan, kept_indices
from onnxopt.pruning.channels.structure import Group, Structure


@dataclass(frozen=True)
class Limits:
    """How far a group may go."""

    fewest: int = 1
    """Units that stay."""
    multiple: int = 1
    """Of what the number of units that stay is a multiple, rounded up."""
    most: float = 1.0
    """The part of a group that may go."""

    def removable(self, group: Group, wanted: int) -> int:
        """At most `wanted` units, as the limits allow."""
        left = group.units - min(wanted, math.floor(group.units * self.most + 1e-9))
        left = max(left, self.fewest, 1)
        return max(0, group.units - math.ceil(left / self.multiple) * self.multiple)


@dataclass(frozen=True)
class MacCount:
    """MACs of a model without some of its channels, without making it."""

    factors: list[tuple[int, list[tuple[Axis, int]]]]
    """For each node its MACs, and the axes, with their sizes, that these are proportional to."""

    @classmethod
    def of(cls, structure: Structure) -> MacCount:
        """Of all nodes of the main graph, for inputs as `ir.costs` assumes them."""
        links = structure.links
        factors = []
        for node, macs in ir.costs(links.edit.main).macs_by_node.items():
            axes = _factors(node)
            if node.op not in ("Conv", "ConvTranspose"):
                axes = [Axis(node.outputs[0], axis) for axis in range(links.rank(node.outputs[0]) or 0)]
                axes += [Axis(node.inputs[0], use.axis) for use in links.readers if use.node is node and not use.at]
            sized = [(axis, links.size(axis.of, axis.number) or 0) for axis in axes if not isinstance(axis.of, Hidden)]
            factors.append((macs, [(axis, size) for axis, size in sized if size > 1]))
        return cls(factors)

    @property
    def total(self) -> int:
        """Of the whole model."""
        return sum(macs for macs, _ in self.factors)

    def left(self, kept: dict[Axis, Index]) -> float:
        """With what axes keep."""
        return sum(
            macs * math.prod(len(kept[axis]) / size for axis, size in axes if axis in kept)
            for macs, axes in self.factors
        )

    def of_unit(self, group: Group) -> float:
        """What one unit of a group takes, about."""
        return sum(
            macs * sum(len(group.at[axis][0]) / size for axis, size in axes if axis in group.at)
            for macs, axes in self.factors
        ) / group.units  # fmt: skip


def _factors(node: ir.Node) -> list[Axis]:
    if not is_given(node, 1):
        return []
    return [Axis(node.inputs[1], 1), Axis(node.inputs[0] if node.op == "ConvTranspose" else node.outputs[0], 1)]


def of_each(curves: Sequence[Curve], ratio: float, limits: Limits) -> Plan:
    """The same part of each group."""
    counts = [limits.removable(curve.group, math.floor(curve.group.units * ratio + 1e-9)) for curve in curves]
    return _plan(curves, counts)


def of_all(curves: Sequence[Curve], ratio: float, limits: Limits) -> Plan:
    """A part of the units of all groups together, those that cost least."""
    total = sum(curve.group.units for curve in curves)
    return _cheapest(
        curves, [1.0] * len(curves), limits, lambda plan: _removed(plan) >= math.floor(total * ratio + 1e-9)
    )


def of_macs(structure: Structure, curves: Sequence[Curve], share: float, limits: Limits) -> Plan:
    """As few as bring the MACs down to a share, those that cost least for what they save.

    Raises:
        BadOption: No MACs are known, or too many are left with all gone that may go.
    """
    count = MacCount.of(structure)
    if not count.total:
        raise BadOption("the model's MACs are not known: give its inputs sizes with freeze-shapes")
    everything = of_each(curves, 1.0, limits)
    least = count.left(kept_indices(structure, everything)) / count.total
    if least > share:
        raise BadOption(f"macs={share:g} is out of reach, {least:.2f} is left with all gone that may: raise max-ratio")
    wanted = count.total * share
    saved = [max(count.of_unit(curve.group), 1e-30) / count.total for curve in curves]
    return _cheapest(curves, saved, limits, lambda plan: count.left(kept_indices(structure, plan)) <= wanted)


def _removed(plan: Plan) -> int:
    return sum(len(units) for units in plan.values())


def _cheapest(
    curves: Sequence[Curve], saved: Sequence[float], limits: Limits, is_enough: Callable[[Plan], bool]
) -> Plan:
    """The lowest price at which enough goes: each group loses the units that cost no more for what they save."""
    prices = [curve.costs / each for curve, each in zip(curves, saved, strict=True)]
    every = np.unique(np.concatenate(prices)) if prices else np.zeros(0)

    def at(price: float) -> Plan:
        counts = [int(np.searchsorted(found, price, side="right")) for found in prices]
        return _plan(
            curves, [limits.removable(curve.group, count) for curve, count in zip(curves, counts, strict=True)]
        )

    low, high = 0, len(every) - 1
    while low < high:
        middle = (low + high) // 2
        if is_enough(at(float(every[middle]))):
            high = middle
        else:
            low = middle + 1
    return at(float(every[low])) if len(every) else {}


def _plan(curves: Sequence[Curve], counts: Sequence[int]) -> Plan:
    return {
        curve.group: np.sort(curve.order[:count])
        for curve, count in zip(curves, counts, strict=True)
        if min(count, len(curve.order)) > 0
    }
