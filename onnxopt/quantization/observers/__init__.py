"""Observers: how the range of a tensor is found from the values that stream past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from onnxopt.errors import BadOption
from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.histogram import Histogram, Scratch
from onnxopt.quantization.observers.entropy import Entropy
from onnxopt.quantization.observers.minmax import MinMax
from onnxopt.quantization.observers.moving_average import MovingAverage
from onnxopt.quantization.observers.mse import MeanSquaredError
from onnxopt.quantization.observers.observer import Observer
from onnxopt.quantization.observers.percentile import Percentile

Method = Literal["minmax", "moving-average", "percentile", "entropy", "mse"]
METHODS: tuple[str, ...] = get_args(Method)

_CHANNEL_BINS = 512
"""Of the histogram of one of many channels."""

__all__ = ["METHODS", "Method", "Observer", "Observing"]


@dataclass(frozen=True)
class Observing:
    """An observer and its settings.

    Raises:
        BadOption: A setting that no observer can take.
    """

    method: Method = "minmax"
    percentile: float = 99.99
    """Of the values to keep, for `percentile`."""
    momentum: float = 0.9
    """Of what came before, for `moving-average`."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadOption(f"there is no observer '{self.method}'; there are {', '.join(METHODS)}")
        if not 50 < self.percentile <= 100:
            raise BadOption(f"a percentile of {self.percentile:g} keeps too little: give one over 50, at most 100")
        if not 0 <= self.momentum < 1:
            raise BadOption(f"a momentum of {self.momentum:g} never moves: give one from 0 to below 1")

    @property
    def sees_batches(self) -> bool:
        """Whether the result depends on which samples come together."""
        return self.method == "moving-average"

    def observer(self, integer: Integer, scratch: Scratch, *, of_channel: bool = False) -> Observer:
        """A new observer, of a tensor or of one of its channels."""
        if self.method == "minmax":
            return MinMax()
        histogram = Histogram(scratch, _CHANNEL_BINS) if of_channel else Histogram(scratch)
        if self.method == "moving-average":
            return MovingAverage(histogram, self.momentum)
        if self.method == "percentile":
            return Percentile(histogram, self.percentile, integer.symmetric)
        if self.method == "entropy":
            return Entropy(histogram, integer)
        return MeanSquaredError(histogram, integer)
