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
        lows, highs = np.array(ranges).T
        encodings = Encoding.of_range(lows, highs, self._integer)
        pairs = zip(encodings.scale.astype(np.float64), encodings.zero_point.astype(np.float64), strict=True)
        errors = [squared_error(values, counts, self.histogram.width, self._integer, *pair) for pair in pairs]
        return ranges[int(np.argmin(errors))]


def squared_error(
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    width: float,
    integer: Integer,
    scale: float,
    zero: float,
) -> float:
    """The sum of the squared errors of `counts` values, known to `width`, encoded with a scale and a zero point.

    Where the steps are finer than the bins, rounding is taken to cost scale^2 / 12 a value, as noise that is uniform.
    """
    least, most = ((limit - zero) * scale for limit in integer.limits)
    clipped = np.minimum(np.maximum(values, least), most)
    if scale < 2 * width:
        error = values - clipped
        rounding = scale**2 / 12 * (counts.sum() - counts[values == 0].sum())
        return float(counts @ (error * error) + rounding)
    error = np.rint(clipped / scale) * scale  # the zero point is an integer
    error -= clipped
    clipped -= values
    return float(counts @ (error * error + clipped * clipped))
