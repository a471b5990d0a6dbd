"""How good, and how alike: the figures by which outputs are judged. All are computed in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.errors import BadData

ArrayLike = npt.ArrayLike


def top1(scores: ArrayLike, labels: ArrayLike) -> float:
    """The share, 0 to 1, of rows of `scores` [N, classes] whose largest entry is at the index in `labels` [N].

    Raises:
        BadData: the rows and the labels are not equally many.
    """
    rows, wanted = np.asarray(scores), np.asarray(labels).reshape(-1)
    if rows.ndim != 2 or len(rows) != len(wanted) or not len(rows):
        raise BadData(
            f"top-1 needs scores [N, classes] and labels [N], found {list(rows.shape)} and {len(wanted)} labels"
        )
    return float(np.mean(np.argmax(rows, axis=1) == wanted))


def snr(reference: ArrayLike, actual: ArrayLike) -> float:
    """Signal-to-noise ratio in decibel: 10 log10(sum r^2 / sum (r - a)^2). Infinite when they are equal."""
    signal, found = _pair(reference, actual)
    return _decibel(np.sum(np.square(signal)), np.sum(np.square(signal - found)))


def psnr(reference: ArrayLike, actual: ArrayLike, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in decibel: 10 log10(peak^2 / mean (r - a)^2). Infinite when they are equal.

    `peak` is the largest value that a pixel can take, in the units of the arrays: 1.0, or 255.
    """
    signal, found = _pair(reference, actual)
    return _decibel(peak * peak, np.mean(np.square(signal - found)) if signal.size else 0.0)


def cosine(reference: ArrayLike, actual: ArrayLike) -> float:
    """Cosine similarity of the arrays as vectors, -1 to 1: r.a / (|r| |a|). 1 when both are zero, 0 when one is."""
    one, other = _pair(reference, actual)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    if lengths == 0.0:
        return 1.0 if not one.any() and not other.any() else 0.0
    return float(np.dot(one, other)) / lengths


def _decibel(signal: Any, noise: Any) -> float:
    if noise == 0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0 else -math.inf


def _pair(reference: ArrayLike, actual: ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    one, other = np.asarray(reference), np.asarray(actual)
    if one.shape != other.shape:
        raise BadData(f"cannot compare shapes {list(one.shape)} and {list(other.shape)}")
    return one.astype(np.float64).reshape(-1), other.astype(np.float64).reshape(-1)
