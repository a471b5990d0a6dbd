"""Weights settled one after the other, each error made good by those still to come (optimal brain surgery, as GPTQ).

Rounding settles a weight on an integer, pruning on zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Order = npt.NDArray[np.intp]
Settle = Callable[[int, Floats], Floats]
"""Given the number of a weight, in the order they are settled, and its values now, [group, output]: what it becomes."""
Begin = Callable[[slice, Floats, Floats], None]
"""Told of every block before it is settled: which weights, in order; their values now, [group, output, weight]; and the
pivots: settling a weight by an error e away costs at least (e / pivot)^2, [group, weight]."""

BLOCK = 64
"""Weights behind which those after them are brought up to date together, which is a product of matrices."""
DAMPING = 0.01
"""Of the mean of the diagonal, as Frantar et al. 2022 add it."""


def compensate(
    weights: Floats, factor: Floats, settle: Settle, *, begin: Begin | None = None, block: int = BLOCK
) -> Floats:
    """Weights that are settled, with little error in what the layer gives out.

    Frantar et al. 2022, "GPTQ", algorithm 1: with U the upper Cholesky factor of the inverse of the moments, an error
    e in weight j takes e U_jk / U_jj off each weight k behind it.

    Args:
        weights: In the order they are settled: [group, output, weight].
        factor: U, in that order: `inverse_factor`.
        settle: Says what each weight becomes.
        begin: Is told of each block.
        block: How many weights it has.
    """
    size = weights.shape[-1]
    left = weights.copy()
    found: Floats = np.empty_like(left)
    for start in range(0, size, block):
        stop = min(start + block, size)
        if begin is not None:
            begin(slice(start, stop), left[:, :, start:stop], np.einsum("gii->gi", factor[:, start:stop, start:stop]))
        errors = np.empty_like(left[:, :, start:stop])
        for j in range(start, stop):
            now = left[:, :, j]
            found[:, :, j] = settle(j, now)
            error = errors[:, :, j - start] = (now - found[:, :, j]) / factor[:, np.newaxis, j, j]
            left[:, :, j + 1 : stop] -= error[:, :, np.newaxis] * factor[:, np.newaxis, j, j + 1 : stop]
        left[:, :, stop:] -= errors @ factor[:, start:stop, stop:]
    return found


def in_order(weights: Floats, order: Order) -> Floats:
    """[group, output, weight] with the weights of each group in this order, [group, weight]."""
    return np.asarray(np.take_along_axis(weights, order[:, np.newaxis], -1))


def output_error(error: Floats, moments: Floats) -> Floats:
    """The mean square in each output that an error of its weights makes: [group, output]."""
    return np.asarray(((error @ moments) * error).sum(axis=-1))


def inverse_factor(moments: Floats, order: Order, damping: float = DAMPING) -> Floats:
    """The upper Cholesky factor of the inverse of damped moments, weights in the given order, up to a factor a group.

    Moments are divided by their mean first, so that the damping is relative. What few samples leave of a covariance can
    be rounding alone, of either sign: it is damped until it is positive definite.
    """
    size = order.shape[-1]
    ordered = np.take_along_axis(np.take_along_axis(moments, order[:, :, np.newaxis], 1), order[:, np.newaxis], 2)
    mean = np.einsum("gii->g", ordered)[:, np.newaxis, np.newaxis] / size
    is_known = np.isfinite(mean) & (mean > np.finfo(np.float64).tiny)
    relative = np.where(is_known, ordered / np.where(is_known, mean, 1.0), 0.0)
    added = np.where(is_known, damping, 1.0)
    lowest = np.linalg.eigvalsh(relative)[:, :1, np.newaxis]
    added = np.maximum(added, damping - 2 * lowest)
    inverse = np.linalg.inv(relative + added * np.eye(size))
    return np.asarray(np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1))
