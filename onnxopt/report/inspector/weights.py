"""What the page shows of a weight: its range, its zeros, its histogram."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnxopt import ir

_BINS = 32
_MOST = 1 << 18
"""Elements that are looked at; of a larger weight, in so many pieces spread evenly over it."""
_PIECES = 64
_SHOWN = 8
"""Weights of so few elements are shown as numbers."""


def weight_facts(constant: ir.Constant) -> dict[str, Any]:
    """Type, shape, bytes, and where its elements are numbers: least, largest, mean, spread, zeros, histogram.

    Statistics are in float64 over the finite elements; a weight of more than 262,144 elements is sampled, and says so.
    """
    about: dict[str, Any] = {
        "name": constant.name,
        "dtype": str(constant.dtype),
        "shape": list(constant.shape),
        "bytes": constant.nbytes,
        "elements": math.prod(constant.shape),
    }
    if constant.dtype.hasobject or constant.dtype.kind in "USc" or not about["elements"]:
        return about
    flat, sampled = _looked_at(constant.read().reshape(-1))
    values = flat.astype(np.float64)
    finite = values[np.isfinite(values)]
    about["sampled"] = sampled
    about["zeros"] = round(float(np.count_nonzero(values == 0)) / values.size, 6)
    about["not_finite"] = values.size - finite.size
    if values.size <= _SHOWN and not sampled:
        about["values"] = [float(value) if math.isfinite(value) else str(value) for value in values]
    if finite.size:
        with np.errstate(over="ignore"):
            about |= {"min": float(finite.min()), "max": float(finite.max())}
            about |= {key: value for key, value in _moments(finite).items() if math.isfinite(value)}
        about["histogram"] = _histogram(finite)
    return about


def _moments(finite: npt.NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(finite.mean()), "std": float(finite.std())}


def _looked_at(flat: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], bool]:
    if flat.size <= _MOST:
        return flat, False
    length = _MOST // _PIECES
    starts = np.linspace(0, flat.size - length, _PIECES).astype(np.int64)
    return np.concatenate([flat[start : start + length] for start in starts]), True


def _histogram(finite: npt.NDArray[np.float64]) -> list[int]:
    """Counts of 32 bins of one width between the least and the largest; one bin where these are too near."""
    low, high = float(finite.min()), float(finite.max())
    if not math.isfinite(high - low) or low == high:
        return [int(finite.size)]
    try:
        return [int(count) for count in np.histogram(finite, _BINS, (low, high))[0]]
    except ValueError:  # a range that has not so many numbers in it
        return [int(finite.size)]
