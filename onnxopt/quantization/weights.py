"""Weights and biases as integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from onnxopt.quantization.encoding import Array, Encoding, Integer

WeightMethod: TypeAlias = Literal["minmax", "mse"]

_SHARES = np.arange(1.0, 0.3, -0.02)
"""Of the largest magnitude, where `mse` tries to clip."""
_INT32 = float(2**31 - 1)
_FINE = float(2**24)
"""Integers that a bias should become where its weights are all 0, so that it is as fine as in float32."""
_SMALLEST = float(np.finfo(np.float32).tiny)


def weight_encoding(values: Array, integer: Integer, axis: int | None, method: WeightMethod = "minmax") -> Encoding:
    """The encoding of a weight, with a scale for each channel along `axis`, or one.

    `minmax` covers every value; `mse` clips where the squared error of what is stored is smallest, of some thirty
    places tried for each channel.
    """
    real = np.asarray(values, np.float32)
    around = None if axis is None else tuple(each for each in range(real.ndim) if each != axis % real.ndim)
    if not real.size:
        return Encoding.of_range(0.0, 0.0, integer)
    low, high = real.min(axis=around), real.max(axis=around)
    best = Encoding.of_range(low, high, integer, axis)
    if method == "minmax":
        return best
    least = _error(real, best, around)
    found = np.ones(np.shape(low))
    for share in _SHARES[1:]:
        error = _error(real, Encoding.of_range(low * share, high * share, integer, axis), around)
        found = np.where(error < least, share, found)
        least = np.minimum(error, least)
    return Encoding.of_range(low * found, high * found, integer, axis)


def _error(real: Array, encoding: Encoding, around: tuple[int, ...] | None) -> Array:
    return np.asarray(np.square(encoding.round_trip(real) - real).sum(axis=around, dtype=np.float64))


def bias_scale(data: Encoding, weight: Encoding) -> Array:
    """The scale in which an integer kernel adds up: that of the data times that of the weight, as float32."""
    return np.asarray(data.scale.astype(np.float32) * weight.scale.astype(np.float32), np.float32)


def fit_for_bias(weight: Encoding, values: Array, bias: Array, data: Encoding) -> tuple[Encoding, int]:
    """The encoding of a weight with scales in which the bias fits into int32; and how many scales that changed.

    Where a bias would overflow, or its scale be no normal float32, the scale of its weight is raised: those weights are
    so small that they hardly count beside it. Where the weights of a channel are all 0 any scale is exact, and one is
    taken in which the bias is fine.
    """
    scale = weight.scale.astype(np.float64)
    largest = np.abs(bias.astype(np.float64)).reshape(-1)
    step = float(data.scale)
    if weight.axis is None:
        largest = largest.max(initial=0.0)
    needed = np.maximum(largest / (_INT32 * step), _SMALLEST / step) * (1 + 1e-6)
    around = None if weight.axis is None else tuple(i for i in range(values.ndim) if i != weight.axis % values.ndim)
    empty = ~np.any(values, axis=around)
    raised = np.where(empty, np.maximum(largest / (_FINE * step), needed), np.maximum(scale, needed))
    if np.array_equal(raised, scale):
        return weight, 0
    changed = int(np.count_nonzero((raised > scale) & ~empty))
    return Encoding(weight.integer, raised.astype(np.float32), weight.zero_point, weight.axis), changed


def quantize_bias(bias: Array, scale: Array) -> Array:
    """int32 in the given scale, or one for each element."""
    steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    return np.asarray(np.clip(steps, -_INT32 - 1, _INT32).astype(np.int32))


Encode: TypeAlias = Callable[[Array, Integer, "int | None"], Encoding]
"""How a weight is encoded: values, integers, axis."""
