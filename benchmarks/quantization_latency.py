"""How long the float and the quantized models take in onnxruntime with its optimizations on, beside each other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxopt.data.spec import Feeds
from onnxopt.runtime.latency import Ratio, latency_ratios
from onnxopt.runtime.session import Session

_GENERATIONS = 5
"""Sessions are made anew so often: where their weights lie in memory is worth some per cent."""
AGAIN = "the first again"
_ROUNDS = 60


@dataclass(frozen=True)
class Latency:
    """What came out."""

    milliseconds: float
    """Of the first model: its fastest run, on one thread."""
    ratios: Mapping[str, Ratio]
    """By name, how many times as long as the first; under `AGAIN` what a second session of the first took."""

    def against(self, name: str, other: str) -> Ratio:
        """How many times as long as the model `other` the model `name` takes, round by round."""
        pairs = zip(self.ratios[name].values, self.ratios[other].values, strict=True)
        return Ratio(tuple(one / two for one, two in pairs))


def latency(paths: Mapping[str, Path], feeds: Sequence[Feeds], seconds: float) -> Latency:
    """Measure the first of `paths`, which is float, and two others in turns for about so many seconds.

    Turns are in a circle, and who comes after a model of other kernels finds the caches cold. So each of the two comes
    after the float one, and the float one after one of them.
    """
    (first, path), one, other = paths.items()
    everyone = dict([(first, path), one, (AGAIN, path), other])
    values: dict[str, list[float]] = {name: [] for name in everyone}
    fastest = float("inf")
    for _ in range(_GENERATIONS):
        sessions = [Session(path, optimize=True) for path in everyone.values()]
        for name, found in zip(everyone, latency_ratios(sessions, feeds, _ROUNDS, seconds / _GENERATIONS), strict=True):
            values[name] += found.values
        fastest = min(fastest, _fastest(sessions[0], feeds))
    return Latency(fastest * 1e3, {name: Ratio(tuple(found)) for name, found in values.items()})


def _fastest(session: Session, feeds: Sequence[Feeds]) -> float:
    runs = [session.prepared(fed) for fed in feeds]
    found = []
    for _ in range(5):
        start = time.perf_counter()
        for run in runs:
            run()
        found.append(time.perf_counter() - start)
    return min(found) / len(runs)
