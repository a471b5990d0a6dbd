"""Rounding of weights one after the other, each error made good by the weights that are still to be rounded (GPTQ)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onnxopt.activations.compensation import Floats, compensate, in_order, inverse_factor, output_error

Bools = npt.NDArray[np.bool_]


def round_compensated(weights: Floats, moments: Floats, most: int, kept: Bools) -> Floats:
    """Integers, as float64 of the shape of `weights`, that make little error in what the layer gives out.

    Frantar et al. 2022, "GPTQ", algorithm 1: rounding errors are taken off the weights still to come. Weights upon data
    that vary most go first. Where an output would come out worse than by rounding to nearest, it is rounded to nearest.

    Args:
        weights: In steps of their scale: [group, output, weight].
        moments: Of the data: [group, weight, weight].
        most: The largest integer; the smallest is its negative.
        kept: Weights to round to nearest in any case, [group, output, weight]: those that make the range, and zeros.
    """
    nearest = np.clip(np.rint(weights), -most, most)
    order = np.argsort(-np.einsum("gii->gi", moments), axis=-1, kind="stable")
    fixed = np.take_along_axis(kept, order[:, np.newaxis], -1)
    plain = in_order(nearest, order)

    def settle(j: int, now: Floats) -> Floats:
        return np.where(fixed[:, :, j], plain[:, :, j], np.clip(np.rint(now), -most, most))

    found = compensate(in_order(weights, order), inverse_factor(moments, order), settle)
    found = in_order(found, np.argsort(order, axis=-1))
    is_better = output_error(found - weights, moments) < output_error(nearest - weights, moments)
    return np.where(is_better[:, :, np.newaxis], found, nearest)
