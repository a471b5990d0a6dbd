"""The error that layers make without some of the channels they read, the others doing their best for them.

With C the covariance of a layer's data, W its weights and S the columns that go, the others fitted anew leave a squared
error of tr(W_S [C^-1]_SS^-1 W_S^T) (Hassibi and Stork 1993, "Optimal Brain Surgeon", for whole columns). Unit after
unit goes where that is least, and C^-1 and W are brought up to date: two channels that say the same are not both
thought superfluous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt.pruning.channels.importance import Curve
from onnxopt.pruning.channels.links import Index
from onnxopt.pruning.channels.reader import Reader
from onnxopt.pruning.channels.second_moments import Moments
from onnxopt.pruning.channels.structure import Group

Floats = npt.NDArray[np.float64]
_STEPS = 96
"""Units are taken in so many steps; those of one step are judged together."""


@dataclass
class _State:
    """What is left of a layer."""

    weights: Floats
    inverse: Floats
    columns: list[Index]
    """Of each unit."""
    energy: float

    def errors(self, units: Index) -> Floats:
        """The error that each unit would add, as a part of the layer's output."""
        columns = np.stack([self.columns[unit] for unit in units])  # a unit has as many on one axis as any other
        blocks = self.inverse[columns[:, :, None], columns[:, None, :]]
        weights = self.weights.T[columns]  # [unit, column, output]
        return np.asarray(np.einsum("uco,uco->u", weights, np.linalg.solve(blocks, weights)) / self.energy)

    def remove(self, units: Index) -> None:
        """Fit the others to what goes."""
        columns = np.concatenate([self.columns[unit] for unit in units])
        block = self.inverse[np.ix_(columns, columns)]
        rows = np.linalg.solve(block, self.inverse[columns])
        self.weights -= self.weights[:, columns] @ rows
        self.inverse -= self.inverse[:, columns] @ rows


def error_curve(group: Group, readers: list[tuple[Reader, Moments]], most: int) -> Curve:
    """In which order units go, up to `most`, and the share of its readers' outputs that each adds to their errors."""
    states = [_state(group, reader, moments) for reader, moments in readers]
    left = np.arange(group.units)
    order: list[int] = []
    costs: list[float] = []
    step = -(-group.units // _STEPS)
    while len(order) < most:
        errors = np.sum([state.errors(left) for state in states], axis=0)
        count = min(step, most - len(order))
        chosen = np.argsort(errors, kind="stable")[:count]
        order += left[chosen].tolist()
        costs += errors[chosen].tolist()
        for state in states:
            state.remove(left[chosen])
        left = np.delete(left, chosen)
    return Curve(group, np.asarray(order, np.int64), np.maximum.accumulate(np.maximum(costs, 0.0)))


def _state(group: Group, reader: Reader, moments: Moments) -> _State:
    at, which = group.at[reader.axis]
    sort = np.argsort(which, kind="stable")
    parts = np.split(at[sort], np.searchsorted(which[sort], np.arange(1, group.units)))
    weights = reader.matrix()
    energy = float(np.sum((weights @ moments.covariance) * weights))
    return _State(
        weights,
        np.asarray(np.linalg.inv(moments.covariance), np.float64),
        [reader.columns(part) for part in parts],
        max(energy, 1e-30),
    )
