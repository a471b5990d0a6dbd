"""Weights of a given mask that give out most nearly what all weights gave out."""

from __future__ import annotations

import numpy as np

from onnxopt.activations.compensation import Floats
from onnxopt.pruning.masks import Keep
from onnxopt.pruning.neighbours import Indices

DAMPING = 1e-4
"""Of the mean of the diagonal. Rounding loads its moments with 100 times that; where whole channels carry next to
nothing, that much hides which of them."""
_BYTES = 16_000_000
"""Of systems that are solved together."""


def refit(weights: Floats, moments: Floats, keep: Keep) -> Floats:
    """The kept weights that give out most nearly what all of them gave out, in the squares' mean; zero elsewhere.

    With H the moments: H_KK v = (H w)_K for the kept weights K; or, where fewer go than stay, with I the inverse of H
    and P those that go, v = w - I_P (I_PP)^-1 w_P (Hassibi & Stork 1993, equation 5, for many at once).

    Args:
        weights: [rows, weights].
        moments: Of the data: [rows or groups, weights, weights]; the rows of a group follow one another.
        keep: Which weights are kept, [rows, weights].
    """
    rows, size = weights.shape
    groups = np.arange(rows) // (rows // len(moments))
    loaded = damped(moments)
    inverse = np.asarray(np.linalg.inv(loaded), np.float64)
    found = np.empty_like(weights)
    order = np.argsort(keep.sum(axis=1), kind="stable")
    step = max(1, _BYTES // (8 * size * size))
    for start in range(0, rows, step):
        chosen = order[start : start + step]
        own: Floats = weights[chosen]
        kept, group = keep[chosen], groups[chosen]
        if (~kept).sum(axis=1).max() <= kept.sum(axis=1).max():
            new = own - _times(_solved(inverse, group, ~kept, own), inverse, group)
        else:
            new = _solved(loaded, group, kept, _times(own, loaded, group))
        found[chosen] = np.where(kept, new, 0.0)
    return found


def damped(moments: Floats) -> Floats:
    """Moments loaded so that they can be inverted: the weight of a dead input costs next to nothing.

    What few samples leave of a covariance can be rounding alone, of either sign.
    """
    size = moments.shape[-1]
    mean = np.einsum("gii->g", moments) / size
    mean = np.where(np.isfinite(mean) & (mean > np.finfo(np.float64).tiny), mean, 1.0)
    finite = np.where(np.isfinite(moments), moments, 0.0)
    lowest = np.linalg.eigvalsh(finite)[:, 0]
    load = np.maximum(DAMPING * mean, DAMPING * mean - 2 * lowest)
    return np.asarray(finite + load[:, np.newaxis, np.newaxis] * np.eye(size))


def _solved(matrices: Floats, group: Indices, at: Keep, wanted: Floats) -> Floats:
    """Of each row the solution of its group's matrix among the places `at`, zero at the others."""
    most = int(at.sum(axis=1).max())
    place = np.argsort(~at, axis=1, kind="stable")[:, :most]
    real = np.take_along_axis(at, place, 1)
    first, second = place[:, :, np.newaxis], place[:, np.newaxis]
    system = matrices[group[:, np.newaxis, np.newaxis], first, second]
    system *= real[:, :, np.newaxis] & real[:, np.newaxis]
    np.einsum("rii->ri", system)[~real] = 1.0
    sides = np.where(real, np.take_along_axis(wanted, place, 1), 0.0)
    found = np.zeros_like(wanted)
    np.put_along_axis(found, place, np.linalg.solve(system, sides[:, :, np.newaxis])[:, :, 0], 1)
    return found


def _times(rows: Floats, matrices: Floats, group: Indices) -> Floats:
    """Each row times the symmetric matrix of its group."""
    if len(matrices) == 1:
        return np.asarray(rows @ matrices[0], np.float64)
    return np.asarray((rows[:, np.newaxis] @ matrices[group])[:, 0], np.float64)
