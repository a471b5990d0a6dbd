"""Second-order pruning of large layers in one sweep over the weights (SparseGPT)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt.activations.compensation import Floats, compensate, in_order, inverse_factor
from onnxopt.pruning.masks import Keep
from onnxopt.pruning.neighbours import neighbours
from onnxopt.pruning.patterns import Pattern, select

_BLOCK = 128
"""Weights among which those that go are chosen together, before the first of them goes (Frantar & Alistarh 2023)."""


@dataclass(frozen=True)
class Swept:
    """What a sweep found, each [group, output, weight]."""

    weights: Floats
    keep: Keep
    errors: Floats
    """What the removal of each weight would have cost when its turn came."""


def sweep(weights: Floats, moments: Floats, share: float, pattern: Pattern, kernel: int) -> Swept:
    """Choose weights that go, and have those behind each make good what that costs.

    Frantar & Alistarh 2023, "SparseGPT", algorithm 1: block by block of weights the share of least (w_j / U_jj)^2 goes,
    with U the upper Cholesky factor of the inverse of the moments.

    Args:
        weights: [group, output, weight].
        moments: Of the data: [group, weight, weight].
        share: How many go, 0 to 1; nothing for N:M.
        pattern: Where zeros may lie.
        kernel: Places of the kernel, the last axis of the weights.
    """
    groups, outputs, size = weights.shape
    columns = neighbours(size, pattern.of or pattern.inputs, kernel).reshape(-1)
    is_real = columns >= 0
    order = np.broadcast_to(np.where(is_real, columns, size), (groups, columns.size))
    ordered = in_order(np.pad(weights, ((0, 0), (0, 0), (0, 1))), order)
    more = np.zeros((groups, size + 1, size + 1))
    more[:, :size, :size] = moments
    errors = np.empty(ordered.shape)
    keep = np.empty(ordered.shape, np.bool_)
    # Beyond the end of a row of blocks stand weights of zero upon data of zero.
    factor = inverse_factor(more, order)

    def begin(block: slice, now: Floats, pivots: Floats) -> None:
        errors[:, :, block] = (now / pivots[:, np.newaxis]) ** 2
        scores = np.where(ordered[:, :, block] == 0, -np.inf, errors[:, :, block])
        chosen = select(scores.reshape(groups * outputs, -1), share, pattern)
        keep[:, :, block] = chosen.reshape(scores.shape)

    def settle(j: int, now: Floats) -> Floats:
        return np.where(keep[:, :, j], now, 0.0)

    width = pattern.of or pattern.inputs
    swept = compensate(ordered, factor, settle, begin=begin, block=max(_BLOCK // width, 1) * width)
    back = np.argsort(columns[is_real])
    return Swept(swept[:, :, is_real][..., back], keep[:, :, is_real][..., back], errors[:, :, is_real][..., back])


def sweep_kept(weights: Floats, moments: Floats, keep: Keep) -> Floats:
    """The kept weights, those behind each that goes having made good what that costs: `sweep` with the choice made.

    Weights upon data that vary least go first: those that are left to make it good are the stronger ones.
    """
    order = np.argsort(np.einsum("gii->gi", moments), axis=-1, kind="stable")
    kept = np.take_along_axis(keep, order[:, np.newaxis], -1)

    def settle(j: int, now: Floats) -> Floats:
        return np.where(kept[:, :, j], now, 0.0)

    swept = compensate(in_order(weights, order), inverse_factor(moments, order), settle)
    return in_order(swept, np.argsort(order, axis=-1))
