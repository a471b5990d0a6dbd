"""Which rank: the least whose error is small enough, where what it costs is less than the layer costs now."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from onnxopt.factorizing.low_rank import Factors
from onnxopt.linear.layer import Layer
from onnxopt.linear.match import NoMatch


@dataclass(frozen=True)
class Limits:
    """What the two layers may cost, and what they may lose."""

    error: float
    """The largest part of the output's energy that may be error."""
    rank: int | None
    """The rank; None to look for it."""

    def choose(self, ranks: Iterator[Factors], most: int) -> Factors:
        """The first of the ranks that is good enough.

        Args:
            ranks: 1, 2, ...
            most: The largest that pays.

        Raises:
            NoMatch: None is.
        """
        last: Factors | None = None
        for found in ranks:
            if found.rank > most:
                break
            last = found
            if found.rank == (self.rank or found.rank) and found.error <= self.error:
                return found
            if found.rank == self.rank:
                break
        if last is None or math.isnan(last.error):
            raise NoMatch("what it gives out on the data is no number")
        raise NoMatch(f"rank {last.rank} leaves {last.error:.2%} error, and max-error={self.error:g}")


def weights_of(layer: Layer) -> int:
    """How many numbers its weight has: C_in C_out k k of a dense Conv."""
    return math.prod(layer.weight.shape)
