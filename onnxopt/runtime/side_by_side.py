"""Models in onnxruntime side by side: interleaved, in sessions made anew several times, the first beside itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxopt.data.spec import Feeds
from onnxopt.runtime.latency import Paired, Timed, interleaved, ratios
from onnxopt.runtime.session import NotRunnable, Session

GENERATIONS = 3
"""How often sessions are made anew."""
_ROUNDS = 200
_PAUSE = 2e-3
"""Seconds. Longer than idle threads of onnxruntime spin before they sleep."""


@dataclass(frozen=True)
class Conditions:
    """How models run."""

    optimize: bool = True
    """Whether onnxruntime rewrites the graph first, as it does by default wherever a model is deployed."""
    threads: int = 0
    """For one operator; 0 leaves it to onnxruntime, which takes one for each core."""
    seconds: float = 6.0
    """To spend on all models together, for each size of a batch."""

    def open(self, model: Path) -> Session:
        """The model, loaded.

        Raises:
            NotRunnable: onnxruntime refuses it; the text names its file.
        """
        try:
            return Session(model, optimize=self.optimize, threads=self.threads)
        except NotRunnable as error:
            raise NotRunnable(f"{model}: {error}") from error


@dataclass(frozen=True)
class SideBySide:
    """What was measured of models in the same rounds."""

    timed: tuple[Timed, ...]
    """Each model, as they were given."""
    paired: tuple[Paired, ...]
    """Each as a multiple of the first; the first is exactly 1."""
    noise: Paired
    """The first model in a session of its own, as a multiple of the first: what differs where nothing does."""

    def verdict(self, index: int) -> str:
        """How a model does beside the first, for people; empty for the first itself."""
        if index == 0:
            return ""
        paired = self.paired[index]
        if not paired.is_beyond(self.noise):
            return "no difference beyond the noise"
        return "faster" if paired.ratio.median < 1 else "slower"


def side_by_side(
    models: Sequence[Path],
    feeds: Sequence[Sequence[Feeds]],
    conditions: Conditions,
    report: Callable[[str, int, int], None] | None = None,
) -> SideBySide:
    """Measure models beside each other.

    Args:
        models: Their files, at least one.
        feeds: For each what to run it on.
        conditions: How they run.
        report: Told how many times sessions were made and measured.

    Raises:
        NotRunnable: onnxruntime refuses a model or its inputs.
    """
    shuffled, count = random.Random(0), len(models)
    found: list[list[Timed]] = []
    for done in range(GENERATIONS):
        if report is not None:
            report("measuring", done, GENERATIONS)
        subjects = [*range(count), 0]
        sessions: list[Session | None] = [None] * len(subjects)
        for place in shuffled.sample(range(len(subjects)), len(subjects)):  # none always gets the memory of another
            sessions[place] = conditions.open(models[subjects[place]])
        calls = [
            [session.prepared(fed) for fed in feeds[subject]]
            for subject, session in zip(subjects, sessions, strict=True)
            if session is not None
        ]
        pause = 0.0 if conditions.threads == 1 else _PAUSE
        found.append(interleaved(calls, _ROUNDS, conditions.seconds / GENERATIONS, pause))
    pairs = [ratios(generation) for generation in found]
    paired = [Paired(tuple(each)) for each in zip(*pairs, strict=True)]
    timed = [Timed(tuple(once for each in one for once in each.rounds)) for one in zip(*found, strict=True)]
    return SideBySide(tuple(timed[:count]), tuple(paired[:count]), paired[count])
