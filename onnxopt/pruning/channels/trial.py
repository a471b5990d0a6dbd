"""A copy of a model without some units, and how far that is from the model as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.data.spec import Feeds
from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.proven import ProvenShapesNonempty
from onnxopt.linear.match import is_given
from onnxopt.linear.setting import Setting
from onnxopt.pruning.channels.compensation import Compensation, compensate
from onnxopt.pruning.channels.importance import Curve
from onnxopt.pruning.channels.links import Axis
from onnxopt.pruning.channels.reader import readers_of
from onnxopt.pruning.channels.removal import Plan, kept_indices, remove_units
from onnxopt.pruning.channels.second_moments import Moments
from onnxopt.pruning.channels.structure import Structure, find_structure
from onnxopt.runtime.executable import executable
from onnxopt.runtime.session import Session

_SAMPLES = 24
_PART = 0.25
"""Of a group, to see what it does to the outputs."""


@dataclass(frozen=True)
class Trials:
    """Makes copies of a graph that is left as it is."""

    structure: Structure
    setting: Setting
    moments: dict[Node, Moments] = field(repr=False)
    how: Compensation

    def apply(self, edit: Edit, structure: Structure, plan: Plan, moments: dict[Node, Moments]) -> None:
        """Compensate and remove."""
        kept = kept_indices(structure, plan)
        if self.how != "none":
            for node, reader in readers_of(edit, structure.groups, self.setting).items():
                left = kept.get(reader.axis)
                if left is not None and node in moments:
                    compensate(edit, reader, moments[node], left, self.how)
                    made = kept.get(Axis(node.outputs[0], 1))
                    if made is not None and is_given(node, 2):  # it may have got a bias just now
                        kept.setdefault(Axis(node.inputs[2], 0), made)
        remove_units(edit, structure, kept)

    def pruned(self, plan: Plan) -> ir.Graph:
        """A copy without these units."""
        graph = self.structure.links.edit.main
        twin = graph.copy()
        twin_of = dict(zip(graph.nodes, twin.nodes, strict=True))
        with ir.edit(twin) as edit:
            same = find_structure(edit, ProvenShapesNonempty(twin))
            by_maker = {(group.node, group.units, group.place): group for group in same.groups}
            mapped = {by_maker[twin_of[group.node], group.units, group.place]: units for group, units in plan.items()}
            self.apply(edit, same, mapped, {twin_of[node]: found for node, found in self.moments.items()})
        ir.sort(twin)
        return twin

    def session(self, plan: Plan) -> Session:
        """The copy in onnxruntime."""
        with executable(self.pruned(plan)) as model:
            return Session(model, optimize=True)

    def weighed(self, curves: Sequence[Curve], data: DataSet) -> list[Curve]:
        """Costs as parts of the model's outputs: each group's as far as a quarter of it, gone alone, moves them.

        The error of a layer tells nothing of what is made of it behind it, beside a residual branch, say. The outputs
        are run on a few samples of the calibration data.
        """
        feeds = list(data.take(_SAMPLES).batches())
        with executable(self.structure.links.edit.main) as model:
            expected = _outputs(Session(model, optimize=True), feeds)
        found = []
        for curve in curves:
            count = min(max(1, round(curve.group.units * _PART)), len(curve.order))
            if not count:
                found.append(curve)
                continue
            outputs = _outputs(self.session({curve.group: np.sort(curve.order[:count])}), feeds)
            error = float(np.mean([_distance(one, other) for one, other in zip(expected, outputs, strict=True)]))
            local = max(float(curve.costs[:count].sum()), 1e-30)
            found.append(replace(curve, costs=curve.costs * max(error, 1e-12) / local))
        return found


def _outputs(session: Session, feeds: Sequence[Feeds]) -> list[np.ndarray]:
    runs = [session.run(fed) for fed in feeds]
    names = [spec.name for spec in session.outputs]
    arrays = [[np.asarray(run[name]) for run in runs] for name in names]
    return [np.concatenate([each.reshape(-1) for each in parts]) for parts in arrays if parts[0].dtype.kind == "f"]


def _distance(expected: np.ndarray, found: np.ndarray) -> float:
    """The squared error as a part of the variance."""
    return float(np.mean((found - expected) ** 2) / max(float(np.var(expected)), 1e-30))
