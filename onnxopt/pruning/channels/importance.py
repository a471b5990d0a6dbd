"""How much each unit of a group matters: by its weights, by its activations, or by the error that its readers make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from onnxopt.activations.streaming import Report, stream
from onnxopt.data import DataSet
from onnxopt.ir.edit import Edit
from onnxopt.linear.match import constant_of
from onnxopt.pruning.channels.links import Axis, Hidden, Index, Use
from onnxopt.pruning.channels.structure import Group

Importance = Literal["l1", "l2", "activation", "error"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """In which order a group loses its units, and what each next one costs."""

    group: Group
    order: Index
    """Units, the least important first; those that have to stay are left out."""
    costs: Floats
    """Of each, never less than of the one before; of one measure in all groups."""


def curve_of(group: Group, scores: Floats) -> Curve:
    """The curve of a score for each unit, as a part of the group's mean."""
    order = np.argsort(scores, kind="stable")
    return Curve(group, order, scores[order] / max(float(scores.mean()), 1e-30))


def by_weights(group: Group, power: int) -> Floats:
    """The norm of all weights that make a unit: sum |w|, or the root of sum w^2.

    Where they are computed, of constants that they may be made of, and of those that read the unit.
    """
    scores = np.zeros(group.units)
    made = [axis_of(use) for use in group.makers if constant_of(use.tensor) is not None]
    for axis in made or [axis for axis in group.at if not isinstance(axis.of, Hidden)]:
        assert not isinstance(axis.of, Hidden)
        constant = constant_of(axis.of)
        if constant is None or len(constant.shape) < 2:
            continue
        others = tuple(number for number in range(len(constant.shape)) if number != axis.number)
        sizes = np.sum(np.abs(constant.read().astype(np.float32)) ** power, axis=others, dtype=np.float64)
        scores += per_unit(group, axis, np.asarray(sizes))
    return np.asarray(scores ** (1 / power))


def by_activations(edit: Edit, groups: Sequence[Group], data: DataSet, report: Report | None) -> list[Floats]:
    """The mean |x| of each unit where it is read, over the calibration data."""
    uses = list(dict.fromkeys(use for group in groups for use in group.readers))
    sums: dict[Use, Floats] = {}
    batches = 0
    for values in stream(edit.main, [use.tensor.name for use in uses], data, report=report):
        batches += 1
        for use in uses:
            found = np.abs(values[use.tensor.name])
            others = tuple(axis for axis in range(found.ndim) if axis != use.axis)
            sums[use] = sums.get(use, np.zeros(1)) + found.mean(axis=others, dtype=np.float64)
    return [
        np.sum([per_unit(group, axis_of(use), sums[use] / max(batches, 1)) for use in group.readers], axis=0)
        for group in groups
    ]


def axis_of(use: Use) -> Axis:
    """The axis that a use is of."""
    return Axis(use.tensor, use.axis)


def per_unit(group: Group, axis: Axis, values: Floats) -> Floats:
    """The sum of what the indices of an axis are worth, for each unit."""
    at, which = group.at[axis]
    return np.bincount(which, values[at], group.units).astype(np.float64)
