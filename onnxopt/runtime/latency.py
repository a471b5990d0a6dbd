"""How long models take beside each other, on a machine that does other things too: interleaved runs, and ratios."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from onnxopt.data.spec import Feeds
from onnxopt.runtime.session import Session

_SAMPLE = 4e-3
"""Seconds that one measurement should last: the clock and the loop around it are then below a thousandth."""
_WARM_UP = 2
_NORMAL = 1.96
"""Quantile of the normal distribution for 95 %."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long one model takes as another: round by round, both measured within each."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true median lies with 95 % confidence, whatever the distribution: two order statistics.

        Their ranks are n / 2 -+ 1.96 sqrt(n) / 2, from the binomial distribution (Conover, "Practical Nonparametric
        Statistics", 3.2).
        """
        ordered, count = sorted(self.values), len(self.values)
        half = _NORMAL * math.sqrt(count) / 2
        low, high = math.floor(count / 2 - half), math.ceil(count / 2 + half)
        return ordered[max(0, low)], ordered[min(count - 1, high)]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.median:.3f} ({low:.3f}..{high:.3f})"


def latency_ratios(
    sessions: Sequence[Session], feeds: Sequence[Feeds], rounds: int = 25, seconds: float = 5.0
) -> list[Ratio]:
    """How many times as long each session takes as the first.

    Every round measures every session, on all of `feeds`, in an order of its own, so that none always follows the same
    other one and finds its data in the caches; a measurement repeats the runs until it lasts some milliseconds. Give
    the first session's model twice, in a session of its own, for the noise.

    Args:
        sessions: At least two; each is called for its outputs only.
        feeds: What to run each on.
        rounds: How many, at most.
        seconds: After so many no further round begins, but at least five are made.

    Raises:
        NotRunnable: A session refuses the inputs.
    """
    works = [partial(_run_all, [session.prepared(fed) for fed in feeds]) for session in sessions]
    once = 0.0
    for work in works:
        for _ in range(_WARM_UP):
            took = _seconds(work, 1)
        once = max(once, took)
    repeats = max(1, math.ceil(_SAMPLE / max(once, 1e-7)))
    found: list[list[float]] = [[] for _ in works]
    shuffled = random.Random(0)
    began = time.perf_counter()
    for number in range(rounds):
        if number >= 5 and time.perf_counter() - began > seconds:
            break
        for index in shuffled.sample(range(len(works)), len(works)):
            found[index].append(_seconds(works[index], repeats))
    return [Ratio(tuple(a / b for a, b in zip(times, found[0], strict=True))) for times in found]


def _run_all(runs: Sequence[Callable[[], object]]) -> None:
    for run in runs:
        run()


def _seconds(work: Callable[[], None], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - start
