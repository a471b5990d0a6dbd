"""Where clipping loses least information."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.histogram import Counts, Histogram
from onnxopt.quantization.observers.observer import Counting

_BINS = 2048
"""Of magnitudes, at most."""
_CANDIDATES = 128
"""Thresholds that are tried, evenly spaced."""
_EPSILON = 1e-4
"""Counts that an empty bin of the quantized distribution gets, so that the divergence stays finite (as in MXNet's
calibration, whose `_smooth_distribution` this follows)."""


class Entropy(Counting):
    """Clips at the magnitude t whose quantized distribution diverges least from the distribution of the values.

    The divergence is that of Kullback and Leibler, sum p log(p / q), where p has what is clipped in its last bin, and
    q is p quantized to as many levels as the integers give to [0, t], each level spread over the bins that hold
    anything (Migacz, 8-bit Inference with TensorRT, GTC 2017). Exact zeros, which every encoding keeps, do not count:
    the first bin is taken to be as full as the second (as in NVIDIA's pytorch-quantization). Where there are at least
    as many levels as bins, as with 16 bits, nothing is clipped.
    """

    def __init__(self, histogram: Histogram, integer: Integer) -> None:
        super().__init__(histogram)
        self._integer = integer

    def clip(self, low: float, high: float) -> tuple[float, float]:
        """Of the range that the threshold leaves."""
        counts, width = _coarser(self.histogram.absolute(), self.histogram.width)
        if len(counts) > 1:
            counts[0] = counts[1]
        best, threshold = np.inf, max(-low, high)
        least = self._levels(width, low, high)
        for size in np.unique(np.linspace(min(least, len(counts)), len(counts), _CANDIDATES).astype(int)):
            candidate = float(size) * width
            found = divergence(counts, int(size), self._levels(candidate, low, high))
            if found < best:
                best, threshold = found, candidate
        return -threshold, threshold

    def _levels(self, threshold: float, low: float, high: float) -> int:
        """How many integers there are for the magnitudes up to a threshold."""
        least, most = self._integer.limits
        if self._integer.symmetric:
            return (most - least + 2) // 2
        span = min(max(high, 0.0), threshold) - max(min(low, 0.0), -threshold)
        return round((most - least + 1) * threshold / span) if span > 0 else most - least + 1


def divergence(counts: Counts, size: int, levels: int) -> float:
    """The Kullback-Leibler divergence of `size` bins quantized to `levels` from all bins, clipped to these."""
    inside = counts[:size].astype(np.float64)
    clipped = inside.copy()
    clipped[-1] += counts[size:].sum()
    if levels >= size:
        spread = inside
    else:
        level = np.arange(size) * levels // size
        sums = np.bincount(level, inside, levels)
        filled = np.bincount(level, inside > 0, levels)
        spread = np.where(inside > 0, (sums / np.maximum(filled, 1))[level], 0.0)
    there = clipped > 0
    if not there.any() or not spread.any():
        return float(np.inf)
    p = clipped[there] / clipped.sum()
    q = np.maximum(spread[there], _EPSILON) / spread.sum()
    return float((p * np.log(p / q)).sum())


def _coarser(counts: Counts, width: float) -> tuple[npt.NDArray[Any], float]:
    """Bins joined in pairs until they are few enough."""
    counts = counts.copy()
    while len(counts) > _BINS:
        counts, width = np.pad(counts, (0, len(counts) % 2)).reshape(-1, 2).sum(axis=1), 2 * width
    return counts, width
