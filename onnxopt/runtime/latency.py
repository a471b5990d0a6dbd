"""How long models take beside each other, on a machine that does other things too: interleaved runs, and ratios."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np

from onnxopt.data.spec import Array, Feeds
from onnxopt.runtime.session import Session

_SAMPLE = 4e-3
"""Seconds that one measurement should last: the clock and the loop around it are then below a thousandth."""
_WARM_UP = 2
_FEWEST = 5
"""Rounds that are made whatever they take."""
_NORMAL = 1.96
"""Quantile of the normal distribution for 95 %."""
_NO_LESS = 0.01
"""What is less than this part of the time is called no difference, however still the machine was."""

Call = Callable[[], object]
"""Runs a model once."""


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


@dataclass(frozen=True)
class Timed:
    """Seconds of every run of one model, round by round."""

    rounds: tuple[tuple[float, ...], ...]

    @cached_property
    def runs(self) -> Array:
        """All of them: float64, [runs], in the order of time."""
        return np.concatenate([np.asarray(each, np.float64) for each in self.rounds])

    @cached_property
    def medians(self) -> tuple[float, ...]:
        """The median of each round: what else the machine does hits few of the runs in one."""
        return tuple(median(each) for each in self.rounds)

    @property
    def mean(self) -> float:
        """Of all runs."""
        return float(self.runs.mean())

    @property
    def std(self) -> float:
        """The standard deviation of the runs, as a sample's: divided by their number less one."""
        return float(self.runs.std(ddof=1)) if len(self.runs) > 1 else 0.0

    @property
    def least(self) -> float:
        """Of the fastest run."""
        return float(self.runs.min())

    def percentile(self, percent: float) -> float:
        """So many percent of the runs take no longer; between two of them linearly interpolated, as numpy does."""
        return float(np.percentile(self.runs, percent))

    @property
    def spread(self) -> float:
        """How far rounds lie apart: half of what is between their 10th and 90th percentile, as a part of the median."""
        low, middle, high = np.percentile(self.medians, [10, 50, 90])
        return float((high - low) / (2 * middle))


@dataclass(frozen=True)
class Paired:
    """How many times as long one model takes as another, in sessions that were made anew several times.

    Where a session's weights happen to lie in memory is worth up to some percent, which no number of rounds with the
    same sessions would average out.
    """

    generations: tuple[Ratio, ...]
    """For each time that sessions were made: round by round."""

    @property
    def ratio(self) -> Ratio:
        """Of all rounds."""
        return Ratio(tuple(value for each in self.generations for value in each.values))

    @property
    def extent(self) -> float:
        """How far from 1 it reaches, as a logarithm, or a hundredth where that is more.

        Over all rounds as far as the 95 % interval of the median does; of the sessions of one generation, as far as
        that has its near end: what is farther may be chance.
        """
        low, high = self.ratio.interval
        sure = [max(1 / each.interval[1], each.interval[0]) for each in self.generations]
        return math.log(max(1 + _NO_LESS, 1 / low, high, *sure))

    def is_beyond(self, noise: Paired) -> bool:
        """Whether this is a difference: more than `noise`, which is a model beside itself in the same rounds.

        The median of every generation has to be farther from 1 than the noise reaches, all to the same side.
        """
        medians = [math.log(each.median) for each in self.generations]
        return min(medians) > noise.extent or max(medians) < -noise.extent


def interleaved(
    models: Sequence[Sequence[Call]], rounds: int = 25, seconds: float = 5.0, pause: float = 0.0
) -> list[Timed]:
    """How long each model takes, all measured in every round.

    Every round runs the models in an order of its own, so that none always follows the same other one, and each some
    milliseconds long, after one run that does not count: that finds the caches full of others' data.

    Args:
        models: For each the runs to make, one after another: on one set of inputs each.
        rounds: How many, at most.
        seconds: After so many no further round begins, but at least five are made.
        pause: Seconds to wait before each model: threads of the one before spin that long, waiting for work.

    Raises:
        NotRunnable: A session refuses the inputs.
    """
    once = 0.0
    for calls in models:
        for _ in range(_WARM_UP):
            took = sum(_seconds(calls, 1))
        once = max(once, took)
    repeats = max(1, math.ceil(_SAMPLE / max(once, 1e-7)))
    found: list[list[tuple[float, ...]]] = [[] for _ in models]
    shuffled = random.Random(0)
    began = time.perf_counter()
    for number in range(rounds):
        if number >= _FEWEST and time.perf_counter() - began > seconds:
            break
        for index in shuffled.sample(range(len(models)), len(models)):
            if pause:
                time.sleep(pause)
            models[index][0]()
            found[index].append(_seconds(models[index], repeats))
    return [Timed(tuple(each)) for each in found]


def ratios(timed: Sequence[Timed]) -> list[Ratio]:
    """How many times as long each takes as the first, round by round."""
    return [Ratio(tuple(a / b for a, b in zip(each.medians, timed[0].medians, strict=True))) for each in timed]


def latency_ratios(
    sessions: Sequence[Session], feeds: Sequence[Feeds], rounds: int = 25, seconds: float = 5.0
) -> list[Ratio]:
    """How many times as long each session takes as the first; give the first one's model twice for the noise.

    Args:
        sessions: At least two; each is called for its outputs only.
        feeds: What to run each on.
        rounds: As for `interleaved`.
        seconds: As for `interleaved`.

    Raises:
        NotRunnable: A session refuses the inputs.
    """
    return ratios(interleaved([[session.prepared(fed) for fed in feeds] for session in sessions], rounds, seconds))


def _seconds(calls: Sequence[Call], repeats: int) -> tuple[float, ...]:
    """Of each run, all of `calls` so many times."""
    clock, found = time.perf_counter, []
    for _ in range(repeats):
        for call in calls:
            start = clock()
            call()
            found.append(clock() - start)
    return tuple(found)
