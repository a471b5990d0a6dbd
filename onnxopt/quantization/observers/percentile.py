"""All but a fixed share of the values."""

from __future__ import annotations

from onnxopt.quantization.histogram import Histogram
from onnxopt.quantization.observers.observer import Counting


class Percentile(Counting):
    """Clips the share 100 - percentile of the values: half of it at each end, or by magnitude where it is symmetric.

    As onnxruntime's PercentileCalibrater does (McKinstry et al., Discovering Low-Precision Networks Close to
    Full-Precision Networks, 2018), with values between the edges of bins.
    """

    def __init__(self, histogram: Histogram, percentile: float, symmetric: bool) -> None:
        super().__init__(histogram)
        self._clipped = 1 - percentile / 100
        self._symmetric = symmetric

    def clip(self, low: float, high: float) -> tuple[float, float]:
        """The two quantiles."""
        if self._symmetric:
            most = self.histogram.quantile(1 - self._clipped, magnitudes=True)
            return -most, most
        least, most = (self.histogram.quantile(share) for share in (self._clipped / 2, 1 - self._clipped / 2))
        return least, most
