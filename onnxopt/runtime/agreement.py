"""How near another engine's outputs are to onnxruntime's, output by output, over all samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.data import Feeds
from onnxopt.data.spec import show_shape

_FLOOR = 1e-6
"""Mean square below which an output counts as this loud: around zero fp16 has an absolute error."""


@dataclass
class Agreement:
    """Of one output: signal and noise, added up."""

    signal: float = 0.0
    noise: float = 0.0
    peak: float = 0.0
    elements: int = 0
    broken: str = ""
    """Why it cannot be compared, in one line."""

    def add(self, expected: npt.NDArray[Any], actual: npt.NDArray[Any] | None) -> None:
        """Take in one batch."""
        if actual is None or actual.shape != expected.shape:
            found = "missing" if actual is None else f"{actual.dtype}{show_shape(actual.shape)}"
            self.broken = self.broken or f"is {found}, expected {expected.dtype}{show_shape(expected.shape)}"
            return
        if expected.dtype.kind not in "fV":  # integers and booleans are right or wrong
            self.signal += expected.size
            self.noise += float(np.count_nonzero(expected != actual))
            self.elements += expected.size
            self.peak = 1.0
            return
        one, other = expected.astype(np.float64), actual.astype(np.float64)
        finite = np.isfinite(one)
        if not np.isfinite(other[finite]).all():
            self.broken = self.broken or "holds NaN or infinity where it should be finite"
            return
        self.signal += float(np.sum(np.square(one[finite])))
        self.noise += float(np.sum(np.square(one[finite] - other[finite])))
        self.peak = max(self.peak, float(np.max(np.abs(one[finite]), initial=0.0)))
        self.elements += int(np.count_nonzero(finite))

    @property
    def snr(self) -> float:
        """Signal to noise in dB; of integers and booleans, all elements to those that differ."""
        if self.broken:
            return -math.inf
        return _decibel(max(self.signal, _FLOOR * self.elements), self.noise)

    @property
    def psnr(self) -> float:
        """The largest expected magnitude, squared, to the mean square of the noise, in dB."""
        if self.broken:
            return -math.inf
        return _decibel(max(self.peak * self.peak, _FLOOR) * self.elements, self.noise)


def compared(pairs: Iterable[tuple[Feeds, Mapping[str, npt.NDArray[Any]]]]) -> dict[str, Agreement]:
    """By name of an expected output: all samples of (expected, actual) together."""
    found: dict[str, Agreement] = {}
    for expected, actual in pairs:
        for name, value in expected.items():
            found.setdefault(name, Agreement()).add(np.asarray(value), actual.get(name))
    return found


def _decibel(signal: float, noise: float) -> float:
    return math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal > 0 else -math.inf
