"""Taking units out of a graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.linear.match import constant_of, remove_if_dead
from onnxopt.pruning.channels.links import Axis, Hidden, Index, Removal
from onnxopt.pruning.channels.structure import Group, Structure

Plan = Mapping[Group, Index]
"""The units that each group loses."""


def kept_indices(structure: Structure, plan: Plan) -> dict[Axis, Index]:
    """What axes keep, of those that lose something."""
    gone: dict[Axis, list[Index]] = {}
    for group, units in plan.items():
        for axis, (at, which) in group.at.items():
            lost = at[np.isin(which, units)]
            if len(lost):
                gone.setdefault(axis, []).append(lost)
    found = {}
    for axis, parts in gone.items():
        size = axis.of.size if isinstance(axis.of, Hidden) else structure.links.size(axis.of, axis.number)
        keep = np.ones(size or 0, bool)
        keep[np.concatenate(parts)] = False
        found[axis] = np.flatnonzero(keep)
    return found


def remove_units(edit: Edit, structure: Structure, kept: Mapping[Axis, Index]) -> None:
    """Take units out of all that holds them, given what axes keep. Declared shapes follow; interface and names stay."""
    if not kept:
        return
    removal = Removal(edit, dict(kept))
    for rewrite in structure.links.rewrites:
        rewrite(removal)
    for option in structure.chosen:
        if option.rewrite is not None:
            option.rewrite(removal)
    by_tensor: dict[Tensor, dict[int, Index]] = {}
    for axis, indices in kept.items():
        if not isinstance(axis.of, Hidden):
            by_tensor.setdefault(axis.of, {})[axis.number] = indices
    for tensor, axes in by_tensor.items():
        _narrow(edit, tensor, axes)
    edit.changed = True


def _narrow(edit: Edit, tensor: Tensor, axes: dict[int, Index]) -> None:
    constant = constant_of(tensor)
    if constant is not None and edit.is_used(tensor):
        values = constant.read()
        for number, indices in axes.items():
            values = np.take(values, indices, number)
        if isinstance(tensor, Constant):
            tensor.values = np.ascontiguousarray(values)
            return
        edit.replace_all_uses(tensor, Constant(edit.fresh(f"{tensor.name}_pruned"), np.ascontiguousarray(values)))
        remove_if_dead(edit, tensor)
    elif isinstance(tensor, Variable) and tensor.shape is not None:
        shape = list(tensor.shape)
        if max(axes) >= len(shape):
            tensor.shape = None  # a declaration that was wrong already
            return
        for number, indices in axes.items():
            shape[number] = len(indices)
        tensor.shape = shape
