"""How long models run in onnxruntime, side by side: python benchmarks/optimizers_latency.py SPEC.

SPEC is a JSON file: `paths` by name, `feeds` (a .npz), `optimize` (whether onnxruntime's own optimizations are on),
`seconds` to spend. One thread; all sessions live in one process and run in turns, in another order each round. They
are made anew several times: where a session's weights happen to lie in memory is worth up to a few per cent, which no
number of rounds in the same memory would average out. What counts is the processor time of the thread: onnxruntime runs
in the one that calls, so that it is the latency of an idle machine, whatever else this one does. Prints by name the
seconds of one run in each round.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from measuring import Spread, run_measured
from zoo import Model

AGAIN = "original again"
"""The original once more, under another name: what it differs by is the noise."""
_GENERATIONS, _FEWEST = 5, 5
"""How often sessions are made, and how many rounds each at least."""
_SHORTEST = 0.004
"""Seconds. What runs shorter is run several times in a round."""
_NEAR, _PATIENCE = 0.005, 3
"""How near to 1 the median of A/A must come, and how many times the time may be spent to get there."""


def compare(
    model: Model, paths: dict[str, Path], *, optimize: bool, seconds: float, limit: float
) -> dict[str, Spread] | str:
    """Seconds by name, round by round; or why there are none. The first of `paths` is the original."""
    (first, *_) = paths
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/feeds.npz", **model.feeds(model.timed or {}))  # type: ignore[arg-type]
        everyone = {first: paths[first], AGAIN: paths[first], **paths}
        spec = {"paths": {name: str(path) for name, path in everyone.items()}, "feeds": f"{folder}/feeds.npz"}
        (Path(folder) / "spec.json").write_text(json.dumps({**spec, "optimize": optimize, "seconds": seconds}))
        try:
            finished = run_measured([sys.executable, __file__, f"{folder}/spec.json"], timeout=limit)
        except subprocess.TimeoutExpired:
            return f"took over {limit:g} s"
    if finished.returncode != 0:
        return (finished.stderr.strip().splitlines() or ["no word"])[-1]
    return {name: Spread(tuple(values)) for name, values in json.loads(finished.stdout.splitlines()[-1]).items()}


class _Rounds:
    """Sessions on the same inputs, run in turns."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.paths: dict[str, str] = spec["paths"]
        self.optimize: bool = spec["optimize"]
        self.seconds: dict[str, list[float]] = {name: [] for name in self.paths}
        with np.load(spec["feeds"]) as feeds:
            self.feeds = dict(feeds)
        self.order = list(self.paths)
        self.random = random.Random(0)

    def spend(self, seconds: float) -> None:
        """Make sessions, and run rounds for as long as that."""
        self.random.shuffle(self.order)
        sessions = {name: self._session(self.paths[name]) for name in self.order}
        once = max(self._time(session, 1) for session in sessions.values() for _ in range(2))
        times = max(1, round(_SHORTEST / once))
        end, rounds = time.perf_counter() + seconds, 0
        while rounds < _FEWEST or time.perf_counter() < end:
            self.random.shuffle(self.order)
            for name in self.order:
                self.seconds[name].append(self._time(sessions[name], times))
            rounds += 1

    def noise(self) -> float:
        """By how much the median of A/A is off."""
        first = self.seconds[next(iter(self.paths))]
        return abs(statistics.median(b / a for a, b in zip(first, self.seconds[AGAIN], strict=True)) - 1)

    def _session(self, path: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if self.optimize else level.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _time(self, session: ort.InferenceSession, times: int) -> float:
        start = time.thread_time()
        for _ in range(times):
            session.run(None, self.feeds)
        return (time.thread_time() - start) / times


def main() -> None:
    """Measure what the file asks for."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    rounds = _Rounds(spec)
    for generation in range(_GENERATIONS * _PATIENCE):
        if generation < _GENERATIONS or rounds.noise() > _NEAR:
            rounds.spend(spec["seconds"] / _GENERATIONS)
    print(json.dumps(rounds.seconds))


if __name__ == "__main__":
    main()
