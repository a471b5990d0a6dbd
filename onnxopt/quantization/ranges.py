"""Calibrated ranges: between which real values each tensor was seen to lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """What was seen of one tensor, and what an observer made of it."""

    low: Floats
    """The end to clip at: rank 0, or one a channel along `axis`."""
    high: Floats
    seen_low: Floats
    """The smallest value that passed, of the same shape."""
    seen_high: Floats
    axis: int | None = None
    saturated: float = 0.0
    """The share of values, 0 to 1, outside [low, high]."""


@dataclass(frozen=True)
class Ranges:
    """The ranges of a model's tensors, by name."""

    by_name: Mapping[str, Range]
    method: str
    """The observer that made them."""
    samples: int
    """How many samples passed."""
    fingerprint: str
    """Of the graph that was observed, as `ir.fingerprint` tells."""
    remarks: tuple[str, ...] = field(default=())
    """What the user should know of single tensors, one line each: constant, dead channels, saturation."""
