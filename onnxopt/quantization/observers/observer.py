"""What an observer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy.typing as npt

from onnxopt.quantization.histogram import Histogram

Array = npt.NDArray[Any]


class Observer(Protocol):
    """Decides from the values that stream past where the range of a tensor, or of one of its channels, ends.

    The smallest and the largest value are found by whoever feeds it: all observers need them.
    """

    sees_batches: ClassVar[bool] = False
    """Whether the result depends on which samples come together."""

    def add(self, values: Array, low: float, high: float) -> None:
        """See the values of a batch: finite, of rank 1 and contiguous; `low` and `high` are their ends."""

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """Where to clip, when the values seen lie between `low` and `high`; never outside these."""

    def share_outside(self, low: float, high: float) -> float:
        """The share of the values below `low` or above `high`, 0 to 1."""


class Counting(ABC):
    """What observers with a histogram share."""

    sees_batches: ClassVar[bool] = False

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram

    def add(self, values: Array, low: float, high: float) -> None:
        """Count the values."""
        self.histogram.add(values, low, high)

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """Where the observer clips, but nowhere outside of what was seen."""
        least, most = self.clip(low, high)
        least = min(max(low, least), high)
        return least, min(max(least, most), high)

    @abstractmethod
    def clip(self, low: float, high: float) -> tuple[float, float]:
        """Where to clip values between `low` and `high`; to the precision of the histogram."""

    def share_outside(self, low: float, high: float) -> float:
        """By the histogram."""
        return self.histogram.share_outside(low, high)
