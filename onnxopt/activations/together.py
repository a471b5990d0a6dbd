"""Whether samples may be run together: some models mix those of a batch, or have a batch of one written into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_CLOSE = 1e-3
"""How far, of the largest value, the ends of a tensor may differ between samples together and one by one: rounding."""


@dataclass(frozen=True)
class Outline:
    """What is compared of a tensor."""

    size: int
    """How many values it has."""
    low: float
    """The smallest of them, and then the largest; 0 where it has none."""
    high: float


def agree(single: Iterable[Outline], together: Outline) -> bool:
    """Whether a tensor of samples run together may hold what it held of each of them, run one by one."""
    parts = list(single)
    is_of_none = all(part.size == together.size for part in parts)  # as a table of positions
    if together.size != sum(part.size for part in parts) and not is_of_none:
        return False
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    slack = _CLOSE * max(abs(low), abs(high))
    return abs(together.low - low) <= slack and abs(together.high - high) <= slack
