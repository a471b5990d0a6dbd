"""Where the squared error of quantization is smallest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.histogram import Histogram
from onnxopt.quantization.observers.observer import Counting

_STEPS = 64
"""Ranges that are tried along each search."""
_SMALLEST = 0.1
"""Of a range that is tried, as a part of what was seen."""


class MeanSquaredError(Counting):
    """The range with the smallest sum of (x - round_trip(x))^2 over the values, for the integers in question.

    Both ends shrink together first; then, where they may differ, the upper alone and the lower alone (the norm
    minimization of Banner et al., Post Training 4-bit Quantization of Convolutional Networks for Rapid Deployment,
    2019, and Nagel et al., A White Paper on Neural Network Quantization, 2021, section 3.1, by search).
    """

    def __init__(self, histogram: Histogram, integer: Integer) -> None:
        super().__init__(histogram)
        self._integer = integer

    def clip(self, low: float, high: float) -> tuple[float, float]:
        """Of the best range."""
        full = min(low, 0.0), max(high, 0.0)
        parts = np.linspace(1.0, _SMALLEST, _STEPS)
        best = self._best([(full[0] * part, full[1] * part) for part in parts])
        if not self._integer.symmetric and full[0] < 0 < full[1]:
            best = self._best([best, *((best[0], full[1] * part) for part in parts)])
            best = self._best([best, *((full[0] * part, best[1]) for part in parts)])
        return best[0], best[1]

    def _best(self, ranges: list[tuple[float, float]]) -> tuple[float, float]:
        """The first of the ranges with the smallest error."""
        is_filled = self.histogram.counts > 0
        values = self.histogram.centers[is_filled]
        counts = self.histogram.counts[is_filled].astype(np.float64)
        errors = [squared_error(values, counts, self.histogram.width, self._integer, *ends) for ends in ranges]
        return ranges[int(np.argmin(errors))]


def squared_error(
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    width: float,
    integer: Integer,
    low: float,
    high: float,
) -> float:
    """The sum of the squared errors of `counts` values, known to `width`, encoded for [low, high].

    Where the steps are finer than the bins, rounding is taken to cost scale^2 / 12 a value, as noise that is uniform.
    """
    encoding = Encoding.of_range(low, high, integer)
    scale, zero = float(encoding.scale), float(encoding.zero_point)
    least, most = ((limit - zero) * scale for limit in integer.limits)
    clipped = np.clip(values, least, most)
    if scale < 2 * width:
        rounding = np.where(values == 0, 0.0, scale**2 / 12)
    else:
        rounding = (clipped - np.rint(clipped / scale) * scale) ** 2  # the zero point is an integer
    return float(counts @ ((values - clipped) ** 2 + rounding))
