"""Second-order pruning of layers of middle size: many weights go at once, and least squares make it good, by turns."""

from __future__ import annotations

import numpy as np

from onnxopt.activations.compensation import Floats, output_error
from onnxopt.pruning.least_squares import damped, refit
from onnxopt.pruning.patterns import Pattern, select

_PARTS = (0.25, 0.45, 0.6, 0.75, 0.9, 1.0)
"""Of the share that goes, what has gone after each round. Half of the weights of digits_mobilenet's 13 dense layers of
32 inputs and more gone, the error is 1.2 times that of the exact way, and that of a sweep four times."""


def errors_in_rounds(weights: Floats, moments: Floats, share: float, pattern: Pattern, kernel: int) -> Floats:
    """What the removal of each weight adds to the summed squared error of the outputs, about: [rows, weights].

    Round by round those of least w_p^2 / I_pp go, with I the inverse of all moments and w what least squares made of
    the weights in the round before. What all that go in a round are said to add is what is really added.

    Args:
        weights: [rows, weights].
        moments: Of the data: [groups, weights, weights].
        share: How many go, 0 to 1; nothing for N:M.
        pattern: Where zeros may lie.
        kernel: Places of the kernel, the last axis of the weights.
    """
    rows = len(weights)
    pivots = np.repeat(np.einsum("gii->gi", np.linalg.inv(damped(moments))), rows // len(moments), axis=0)
    now, keep = weights, weights != 0
    errors = np.where(keep, np.inf, 0.0)
    reached = last = 0.0
    scale = 1.0
    for part, step in _steps(share, pattern):
        costs = now**2 / pivots
        left = select(np.where(keep, costs, -np.inf), part, step, kernel)
        goes = keep & ~left
        keep = left
        now = refit(weights, moments, keep)
        total = float(_lost(now - weights, moments).sum())
        said = float(costs[goes].sum())
        scale = (total - reached) / said if said > 0 and total > reached else scale
        reached = max(total, reached)
        errors[goes] = np.maximum(costs[goes] * scale, last)
        last = max(last, float(errors[goes].max(initial=0.0)))
    if not pattern.of:
        errors[keep] = np.maximum((now**2 / pivots)[keep] * scale, last)
    return errors


def _steps(share: float, pattern: Pattern) -> list[tuple[float, Pattern]]:
    if pattern.of:
        return [(0.0, Pattern(kept, pattern.of)) for kept in range(pattern.of - 1, pattern.kept - 1, -1)]
    return [(share * part, pattern) for part in _PARTS]


def _lost(error: Floats, moments: Floats) -> Floats:
    return output_error(error.reshape(len(moments), -1, error.shape[-1]), moments)
