"""Histograms of values that stream past, of fixed size and of whatever range comes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]

_CHUNK = 1 << 16
"""Values at a time: what is made of them on the way stays in the processor's cache."""
_ALL = 1 << 18
"""Values up to which every single one is counted; after them ever fewer are, each for more."""
_FEWEST = 1024
"""Values that are counted of each batch at least."""
_SMALLEST = -100
"""Of the exponent of a bin's width: its inverse has to be a float32."""


@dataclass
class Scratch:
    """Memory that all histograms of one run share while they count."""

    scaled: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(_CHUNK, np.float32))
    whole: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(_CHUNK, np.int32))
    index: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(_CHUNK, np.intp))


class Histogram:
    """How many values lie where, in at most `bins` bins of one width.

    Bin i holds first + i <= x / width < first + i + 1. The width is the smallest power of two with which the bins
    cover 0 and all that came: when something comes from outside, pairs of bins are merged, which is exact since edges
    are multiples of the width. So one pass over the data suffices, and it does not matter in which order they come.

    Once a quarter of a million values are there, every k-th is counted, k times, where k grows with the number of
    values that passed: shares of all values are then known to some 1/500 of their square root, and counting, which
    costs ten times what finding the ends does, takes no longer than the model. The first value of a batch to be counted
    moves from batch to batch.
    """

    def __init__(self, scratch: Scratch | None = None, bins: int = 4096) -> None:
        self._scratch = scratch or Scratch()
        self._bins = bins
        self._exponent = 0
        self._passed = 0
        self._batches = 0
        self.first = 0
        self.counts: Counts = np.zeros(0, np.int64)

    @property
    def width(self) -> float:
        """Of a bin."""
        return math.ldexp(1.0, self._exponent)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Of the bins; one more than there are bins."""
        return np.arange(self.first, self.first + len(self.counts) + 1, dtype=np.float64) * self.width

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """The value that stands for all of a bin: its middle, but 0 for the one that begins at 0.

        Zeros are many after a Relu, and any encoding has them exactly.
        """
        centers = self.edges[:-1] + self.width / 2
        if len(centers):
            centers[-self.first] = 0.0
        return np.asarray(centers)

    def add(self, values: Array, low: float, high: float) -> None:
        """Count finite values, of rank 1, of which the smallest and the largest are known."""
        self._cover(low, high)
        step = min(self._passed // _ALL, len(values) // _FEWEST) | 1  # odd: not in step with the channels
        counted = values[self._batches * 7 % step :: step]
        self._passed += len(values)
        self._batches += 1
        inverse = np.float32(math.ldexp(1.0, -self._exponent))
        last = np.float32(self.first + len(self.counts) - 1)  # where float64 is rounded up beyond it
        for start in range(0, len(counted), _CHUNK):
            chunk = counted[start : start + _CHUNK]
            size = len(chunk)
            scaled, whole, index = (buffer[:size] for buffer in vars(self._scratch).values())
            np.multiply(chunk, inverse, out=scaled, casting="same_kind")
            np.floor(scaled, out=scaled)
            if chunk.dtype != np.float32:
                np.minimum(scaled, last, out=scaled)
            whole[:] = scaled
            np.subtract(whole, self.first, out=index)
            found = np.bincount(index, minlength=len(self.counts))
            self.counts += found if step == 1 else found * step

    def absolute(self) -> Counts:
        """How many values there are of each magnitude: bin i holds i <= |x| / width < i + 1."""
        above, below = self.counts[-self.first :], self.counts[: -self.first][::-1]
        folded = np.zeros(max(len(above), len(below)), np.int64)
        folded[: len(above)] += above
        folded[: len(below)] += below
        return folded

    def share_outside(self, low: float, high: float) -> float:
        """The share of values below `low` or above `high`, 0 to 1; values are taken to lie evenly in their bin."""
        total = int(self.counts.sum())
        if not total:
            return 0.0
        return float(1 - (self._below(high) - self._below(low)) / total)

    def quantile(self, share: float, *, magnitudes: bool = False) -> float:
        """The value below which `share` (0 to 1) of the values lie, or of their magnitudes."""
        counts, first = (self.absolute(), 0) if magnitudes else (self.counts, self.first)
        if not len(counts):
            return 0.0
        sums = np.concatenate([[0], np.cumsum(counts)])
        wanted = share * sums[-1]
        at = min(max(int(np.searchsorted(sums, wanted, "right")) - 1, 0), len(counts) - 1)
        inside = (wanted - sums[at]) / counts[at] if counts[at] else 0.0
        return float((first + at + min(inside, 1.0)) * self.width)

    def _below(self, value: float) -> float:
        place = min(max(value / self.width - self.first, 0.0), float(len(self.counts)))
        at = int(place)
        partly = self.counts[at] * (place - at) if at < len(self.counts) else 0.0
        return float(self.counts[:at].sum() + partly)

    def _cover(self, low: float, high: float) -> None:
        """Have a bin for everything from `low` to `high`, and for 0, which every encoding has."""
        low, high = min(low, 0.0), max(high, 0.0)
        if not len(self.counts):
            self._exponent = max(math.frexp(high - low)[1] - self._bins.bit_length(), _SMALLEST)
            self.counts = np.zeros(1, np.int64)
        while True:
            first = min(self.first, math.floor(low / self.width))
            end = max(self.first + len(self.counts), math.floor(high / self.width) + 1)
            if end - first <= self._bins:
                break
            self._merge()
        before, after = self.first - first, end - self.first - len(self.counts)
        if before or after:
            self.counts, self.first = np.pad(self.counts, (before, after)), first

    def _merge(self) -> None:
        """Make of each two bins one."""
        before = self.first % 2
        padded = np.pad(self.counts, (before, (before + len(self.counts)) % 2))
        self.counts = padded.reshape(-1, 2).sum(axis=1)
        self.first = (self.first - before) // 2
        self._exponent += 1
