"""Weights as a product of two factors of low rank, by the error that this makes in what the layer gives out.

With the second moments M of a layer's data, an error D of its weights makes an error of tr(D M D^T) in its output,
squared and summed over the outputs. Decomposing W L instead of W, where L L^T = M, makes that small instead of the
error of the weights (as in ASVD, Yuan et al. 2023, and SVD-LLM, Wang et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DAMPING = 0.01
"""Of the mean of the diagonal, for directions that the calibration data do not show."""


@dataclass(frozen=True)
class Factors:
    """Weights W of [group, output, ...] as outer times inner."""

    rank: int
    inner: Floats
    """Upon the data: [group, rank, weight]; of separable weights [group, input, rank, tap]."""
    outer: Floats
    """Upon what the inner one gives: [group, output, rank], for all inputs of separable weights side by side."""
    error: float
    """The part of the output's energy on the data, 0 to 1, that is error."""


def product(weights: Floats, moments: Floats) -> Iterator[Factors]:
    """W as a product of matrices: the best for each rank, 1 first.

    With U the left singular vectors of W L, the best of rank r is U_r U_r^T W.

    Args:
        weights: [1, output, weight].
        moments: Of the data: [1, weight, weight].
    """
    matrix, second = weights[0], moments[0]
    left = np.linalg.svd(matrix @ _root(second), full_matrices=False)[0]
    inner = left.T @ matrix
    signs = _signs(inner)
    inner, left = inner * signs, left * signs.T
    signal = _energy(matrix, matrix @ second)
    caught = np.cumsum(np.einsum("rw,rw->r", inner, inner @ second))
    for rank in range(1, left.shape[1] + 1):
        error = _share(signal - float(caught[rank - 1]), signal)
        yield Factors(rank, inner[np.newaxis, :rank], left[np.newaxis, :, :rank], error)


def separable(weights: Floats, moments: Floats, most: int) -> Iterator[Factors]:
    """W as so many kernels for each input channel, and how each output adds up what they give; rank 1 first.

    The kernels are the leading right singular vectors of each channel's weights, by the second moments of its taps.
    How they are added up is then found by least squares for all channels together.

    Args:
        weights: [group, output, input, tap].
        moments: Of the data: [group, input * tap, input * tap].
        most: The largest rank.
    """
    groups, outputs, inputs, taps = weights.shape
    by_channel = moments.reshape(groups, inputs, taps, inputs, taps)
    index = np.arange(inputs)
    roots = _root(by_channel[:, index, :, index].swapaxes(0, 1))  # [group, input, tap, tap]
    right = np.linalg.svd(weights.swapaxes(1, 2) @ roots, full_matrices=False)[2]
    kernels = np.linalg.solve(roots.swapaxes(-1, -2), right.swapaxes(-1, -2)).swapaxes(-1, -2)
    kernels, right = kernels * (signs := _signs(kernels)), right * signs
    mixed = weights.swapaxes(1, 2) @ roots @ right.swapaxes(-1, -2)  # [group, input, output, rank]
    seen = (weights.reshape(groups, outputs, -1) @ moments).reshape(weights.shape)
    signal = _energy(weights, seen)
    for rank in range(1, min(most, kernels.shape[2]) + 1):
        inner = kernels[:, :, :rank]
        size = inputs * rank
        outer = mixed[..., :rank].transpose(0, 2, 1, 3)
        of_kernels = np.einsum("girk,gikjl->girjl", inner, by_channel, optimize=True)
        flat = of_kernels.reshape(groups, size, inputs * taps)
        between = np.einsum("girjl,gjsl->girjs", of_kernels, inner, optimize=True).reshape(groups, size, size)
        missed = seen - (outer.reshape(groups, outputs, size) @ flat).reshape(weights.shape)
        missed = np.einsum("goik,girk->goir", missed, inner, optimize=True).reshape(groups, outputs, size)
        step = np.linalg.solve(_damped(between), missed.swapaxes(1, 2)).swapaxes(1, 2)
        found = outer.reshape(groups, outputs, size) + step
        made = np.einsum("goir,girk->goik", found.reshape(groups, outputs, inputs, rank), inner, optimize=True)
        error = _energy(weights - made, seen - (found @ flat).reshape(weights.shape))
        yield Factors(rank, inner, found, _share(error, signal))


def _signs(inner: Floats) -> Floats:
    """Of each row that of its largest number, so that factors do not depend on who computed them."""
    largest = np.take_along_axis(inner, np.abs(inner).argmax(axis=-1, keepdims=True), -1)
    return np.where(largest < 0, -1.0, 1.0)


def _energy(weights: Floats, weights_by_moments: Floats) -> float:
    """tr(W M W^T), of W and W M."""
    return float(np.vdot(weights, weights_by_moments))


def _share(error: float, signal: float) -> float:
    """Rounding may leave an error a little below 0."""
    error = max(error, 0.0)
    if signal <= 0.0:
        return 0.0 if error <= 0.0 else math.inf
    return error / signal


def _root(moments: Floats) -> Floats:
    """L with L L^T = damped moments, of the last two axes."""
    return np.asarray(np.linalg.cholesky(_damped(moments)))


def _damped(moments: Floats) -> Floats:
    """Positive definite, whatever the data did not show or rounding made negative."""
    size = moments.shape[-1]
    even = (moments + moments.swapaxes(-1, -2)) / 2
    mean = np.trace(even, axis1=-2, axis2=-1)[..., np.newaxis, np.newaxis] / size
    is_known = np.isfinite(mean) & (mean > np.finfo(np.float64).tiny)
    return np.asarray(np.where(is_known, even + _DAMPING * mean * np.eye(size), np.eye(size)))
