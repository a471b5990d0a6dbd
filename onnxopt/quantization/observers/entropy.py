"""Where clipping loses least information."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.histogram import Counts, Histogram
from onnxopt.quantization.observers.observer import Counting

Floats = npt.NDArray[np.float64]

_BINS = 2048
"""Of magnitudes, at most."""
_CANDIDATES = 128
"""Thresholds that are tried, evenly spaced."""
_STEPS = 2
"""Of the whole range, over which the distribution is smoothed."""
_OUTSIDE = 1e-4
"""Of a share that is clipped, what the quantized distribution has of it (MXNet's calibration, whose ranges onnxruntime
follows, has that of a bin which is empty), so that the divergence stays finite: a clipped value costs 9.2 nats."""


class Entropy(Counting):
    """Clips at the magnitude t whose quantized distribution diverges least from the distribution of the values.

    The divergence is that of Kullback and Leibler, sum p log(p / q): p is the distribution of the magnitudes, and q
    what is left of it when as many levels as the integers have for [0, t] each spread evenly over their bins that hold
    anything, the last one with all that is clipped (after Migacz, 8-bit Inference with TensorRT, GTC 2017). Where
    there are at least as many levels as bins, as with 16 bits, nothing is clipped.

    Three things are as in Migacz's algorithm in idea but not in detail, since that clips far too much: as NVIDIA's
    pytorch-quantization has it, 11 % of the digits of digits_mobilenet are right, and as onnxruntime has it, with 2,048
    bins, tinybeauty loses 1.5 dB.

    - p is of all values for every t: the candidates are compared with one distribution. His p has what is clipped in
      its last bin, where q hardly has anything: clipping costs less the more values the last bin has anyway.
    - p is smoothed over two steps of the whole range. Constant backgrounds and saturated activations are peaks of one
      bin; spread over a level of eight bins they seem to lose two nats each, though any step keeps them well.
    - The levels are those of the range that is encoded: all 256 for what a Relu makes, where he has 128. Exact zeros,
      which every encoding keeps, do not count: the first bin is taken to be as full as the second (as in
      pytorch-quantization).

    onnxruntime's default of 128 bins for 128 levels has one candidate only, which is the whole range.
    """

    def __init__(self, histogram: Histogram, integer: Integer) -> None:
        super().__init__(histogram)
        self._integer = integer

    def clip(self, low: float, high: float) -> tuple[float, float]:
        """Of the range that the threshold leaves."""
        counts, width = _coarser(self.histogram.absolute(), self.histogram.width)
        if len(counts) > 1:
            counts[0] = counts[1]
        full = self._levels(len(counts) * width, low, high)
        if not counts.any() or full >= len(counts):
            return low, high
        sizes = np.unique(np.linspace(full, len(counts), _CANDIDATES).astype(np.intp))
        levels = np.array([self._levels(float(size) * width, low, high) for size in sizes], np.intp)
        shares = smoothed(counts / counts.sum(), _STEPS * len(counts) // full)
        best = int(np.argmin(divergences(shares, sizes, levels)))
        threshold = max(-low, high) if sizes[best] == len(counts) else float(sizes[best]) * width
        return -threshold, threshold

    def _levels(self, threshold: float, low: float, high: float) -> int:
        """How many integers there are for the magnitudes up to a threshold."""
        least, most = self._integer.limits
        if self._integer.symmetric:
            return (most - least + 2) // 2
        span = min(max(high, 0.0), threshold) - max(min(low, 0.0), -threshold)
        return max(1, round((most - least + 1) * threshold / span)) if span > 0 else most - least + 1


def divergences(shares: Floats, sizes: npt.NDArray[np.intp], levels: npt.NDArray[np.intp]) -> Floats:
    """How far shares that are quantized diverge from them: sum p log(p / q), in nats.

    Args:
        shares: Of all values, by bin.
        sizes: How many bins are not clipped; one candidate each.
        levels: To how many levels these are quantized, at least one.
    """
    levels = np.minimum(levels, sizes)
    information = np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
    mass, filled, known = (np.concatenate([[0.0], np.cumsum(part)]) for part in (shares, shares > 0, information))
    # bin i is of level i * levels // size
    edges = -(-np.arange(int(levels.max()) + 1) * sizes[:, None] // levels[:, None])
    edges = np.minimum(edges, sizes[:, None])
    inside, room = np.diff(mass[edges]), np.diff(filled[edges])
    clipped = mass[-1] - mass[sizes]
    given = inside.copy()
    given[np.arange(len(sizes)), levels - 1] += clipped
    there = inside > 0
    logs = np.log(np.where(there, given, 1.0) / np.where(there, room, 1.0))
    return np.asarray(known[sizes] - (inside * logs).sum(axis=1) - clipped * np.log(_OUTSIDE))


def smoothed(shares: Floats, width: int) -> Floats:
    """The mean over `width` bins, made odd, around each; mirrored at both ends."""
    half = min(width // 2, len(shares))
    if not half:
        return shares
    sums = np.cumsum(np.concatenate([[0.0], shares[:half][::-1], shares, shares[-half:][::-1]]))
    return np.asarray(np.maximum(sums[2 * half + 1 :] - sums[: -2 * half - 1], 0.0) / (2 * half + 1))


def _coarser(counts: Counts, width: float) -> tuple[Counts, float]:
    """Bins joined in pairs until they are few enough."""
    counts = counts.copy()
    while len(counts) > _BINS:
        counts, width = np.pad(counts, (0, len(counts) % 2)).reshape(-1, 2).sum(axis=1), 2 * width
    return counts, width
