"""A regression in two parts, one to fit candidates to and one to choose among them, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt.pruning.reconstruction.normal_equations import Floats, Keep, solve_rows

_RIDGES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
"""What is tried. Where calibration data are few, weights drawn to what they were tell more than the data alone."""
_GAIN = 1e-3
"""Of the error, below which a row stays as it is."""


class _Sums:
    """Over positions: of x x^T, y x^T and y^2, where x ends with a 1 for the bias."""

    def __init__(self, groups: int, rows: int, weights: int) -> None:
        self.moments = np.zeros((groups, weights + 1, weights + 1))
        self.products = np.zeros((groups, rows, weights + 1))
        self.squares = np.zeros((groups, rows))
        self.positions = 0

    def add(self, x: Floats, y: Floats) -> None:
        """[group, weights, positions] and [group, row, positions]."""
        self.positions += x.shape[-1]
        for group, (data, output) in enumerate(zip(x, y, strict=True)):
            one = np.concatenate([data, np.ones_like(data[:1])])
            self.moments[group] += one @ one.T  # numpy takes the symmetric product for a matrix, not for a stack
            self.products[group] += output @ one.T
        self.squares += np.einsum("grp,grp->gr", y, y)

    def errors(self, rows: Floats) -> Floats:
        """The sum of squared errors of [group, row, weights + 1]: [group, row]."""
        squared = np.einsum("grn,grn->gr", rows @ self.moments, rows)
        found: Floats = squared - 2 * np.einsum("grn,grn->gr", rows, self.products) + self.squares
        return np.maximum(found, 0.0)


@dataclass(frozen=True)
class Fit:
    """What least squares found."""

    rows: Floats
    """Weights and, last, the bias: [group, row, weights + 1]."""
    taken: Keep
    """Which rows are better than they were: [group, row]. The others are as they were."""
    before: float
    """The squared error on the part that was held out, in parts of the output's power."""
    after: float
    """The same with the rows that were chosen, fitted to the other part."""


class Regression:
    """y = W x + b, a row for each output of each group.

    Args:
        groups: Parts of a layer that see data of their own.
        rows: Outputs of each.
        weights: Of one output.
    """

    def __init__(self, groups: int, rows: int, weights: int) -> None:
        self._fitted, self._held = (_Sums(groups, rows, weights) for _ in range(2))

    @staticmethod
    def bytes(groups: int, rows: int, weights: int) -> int:
        """That it will take."""
        return 2 * 8 * groups * (weights + 1) * (weights + 1 + rows)

    def add(self, x: Floats, y: Floats, held: Keep) -> None:
        """Take in positions: [group, weights, positions], [group, row, positions]; `held`: [positions]."""
        if not held.all():
            self._fitted.add(x[:, :, ~held], y[:, :, ~held])
        if held.any():
            self._held.add(x[:, :, held], y[:, :, held])

    def solve(self, start: Floats, keep: Keep, rows: Keep | bool = True) -> Fit:
        """How much rows are drawn to what they were is chosen on the part held out; then all data are fitted.

        It is chosen for all rows together, for which the part held out is large enough. A row that makes no less error
        there stays as it is.

        Args:
            start: Weights and bias as they are: [group, row, weights + 1].
            keep: Which may be other than zero.
            rows: Which may change.
        """
        fitted, held = self._fitted, self._held
        before = held.errors(start)
        ridge, after = 0.0, before
        for each in _RIDGES:
            errors = held.errors(solve_rows(fitted.moments, fitted.products, start, keep, each))
            if errors.sum() < after.sum():
                ridge, after = each, errors
        taken = (after < before * (1 - _GAIN)) & rows
        best = start
        if taken.any():
            found = solve_rows(fitted.moments + held.moments, fitted.products + held.products, start, keep, ridge)
            best = np.where(taken[:, :, np.newaxis], found, start)
        power = max(float(held.squares.sum()), float(np.finfo(np.float64).tiny))
        return Fit(best, taken, float(before.sum()) / power, float(np.where(taken, after, before).sum()) / power)
