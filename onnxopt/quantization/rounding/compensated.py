"""Rounding of weights one after the other, each error made good by the weights that are still to be rounded (GPTQ)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_DAMPING = 0.01
"""Of the mean of the diagonal, as Frantar et al. 2022 add it."""


_BLOCK = 64
"""Weights behind which those after them are brought up to date together, which is a product of matrices."""


def round_compensated(weights: Floats, moments: Floats, most: int, kept: Bools) -> Floats:
    """Integers, as float64 of the shape of `weights`, that make little error in what the layer gives out.

    Frantar et al. 2022, "GPTQ", algorithm 1: with U the upper Cholesky factor of the inverse of the moments, rounding
    weight j by e takes e U_jk / U_jj off each weight k behind it. Weights upon data that vary most go first. Where an
    output would come out worse than by rounding to nearest, it is rounded to nearest.

    Args:
        weights: In steps of their scale: [group, output, weight].
        moments: Of the data: [group, weight, weight].
        most: The largest integer; the smallest is its negative.
        kept: Weights to round to nearest in any case, [group, output, weight]: those that make the range, and zeros.
    """
    nearest = np.clip(np.rint(weights), -most, most)
    size = weights.shape[-1]
    diagonal = np.einsum("gii->gi", moments)
    order = np.argsort(-diagonal, axis=-1, kind="stable")
    factor = _inverse_factor(moments, order)
    left = np.take_along_axis(weights, order[:, np.newaxis], -1)
    fixed = np.take_along_axis(kept, order[:, np.newaxis], -1)
    plain = np.take_along_axis(nearest, order[:, np.newaxis], -1)
    found = np.empty_like(left)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = np.empty_like(left[:, :, start:stop])
        for j in range(start, stop):
            now = left[:, :, j]
            found[:, :, j] = np.where(fixed[:, :, j], plain[:, :, j], np.clip(np.rint(now), -most, most))
            error = errors[:, :, j - start] = (now - found[:, :, j]) / factor[:, np.newaxis, j, j]
            left[:, :, j + 1 : stop] -= error[:, :, np.newaxis] * factor[:, np.newaxis, j, j + 1 : stop]
        left[:, :, stop:] -= errors @ factor[:, start:stop, stop:]
    back = np.argsort(order, axis=-1)[:, np.newaxis]
    found = np.take_along_axis(found, back, -1)
    is_better = output_error(found - weights, moments) < output_error(nearest - weights, moments)
    return np.where(is_better[:, :, np.newaxis], found, nearest)


def output_error(error: Floats, moments: Floats) -> Floats:
    """The mean square in each output that an error of its weights makes: [group, output]."""
    return np.asarray(((error @ moments) * error).sum(axis=-1))


def _inverse_factor(moments: Floats, order: npt.NDArray[np.intp]) -> Floats:
    """The upper Cholesky factor of the inverse of damped moments, weights in the given order, up to a factor.

    Moments are divided by their mean first, so that the damping is relative. What few samples leave of a covariance can
    be rounding alone, of either sign: it is damped until it is positive definite.
    """
    size = moments.shape[-1]
    ordered = np.take_along_axis(np.take_along_axis(moments, order[:, :, np.newaxis], 1), order[:, np.newaxis], 2)
    mean = np.einsum("gii->g", ordered)[:, np.newaxis, np.newaxis] / size
    is_known = np.isfinite(mean) & (mean > np.finfo(np.float64).tiny)
    relative = np.where(is_known, ordered / np.where(is_known, mean, 1.0), 0.0)
    damping = np.where(is_known, _DAMPING, 1.0)
    lowest = np.linalg.eigvalsh(relative)[:, :1, np.newaxis]
    damping = np.maximum(damping, _DAMPING - 2 * lowest)
    inverse = np.linalg.inv(relative + damping * np.eye(size))
    return np.asarray(np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1))
