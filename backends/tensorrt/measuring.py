"""How long an engine takes on a GPU, by CUDA's events, as TensorRT's own command line measures it.

`trtexec --loadEngine=E` (for RTX, `tensorrt_rtx --loadEngine=E`) warms up for at least 200 ms, measures for at least
3 s and 10 runs, and calls the figure that is taken here GPU Compute Time: from the first kernel of a run to its last,
without copies of inputs and outputs. Its settings for the same are `--warmUp=200 --duration=3 --iterations=10
--percentile=90,95,99 --noDataTransfers --useSpinWait`. Runs follow one another; each is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnxopt.backends.tensorrt.running import Running
from onnxopt.data.spec import Array
from onnxopt.runtime.latency import Timed


@dataclass(frozen=True)
class Settings:
    """How to measure; by default as TensorRT's command line does."""

    warm_up: float = 0.2
    """Seconds, at least, of runs that are not counted: clocks rise, and RTX compiles kernels as they are first used."""
    seconds: float = 3.0
    """That runs are counted for, at least."""
    runs: int = 10
    """How many are counted, at least."""

    def __post_init__(self) -> None:
        """Refuse what measures nothing."""
        if self.warm_up < 0 or self.seconds < 0 or self.runs < 1:
            raise ValueError(f"a measurement is of 1 run or more and no negative time, not {self}")


def measure(
    running: Running,
    feeds: Mapping[str, Array],
    settings: Settings | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Run an engine on the same inputs again and again: the seconds of each run, in one round.

    Raises:
        OnnxoptError: As `Running.run`.
    """
    wanted, device = settings or Settings(), running.device
    with running.prepared(feeds) as bound:

        def once() -> float:
            start, end = device.event(), device.event()
            device.record(start, bound.stream)
            running.enqueue(bound)
            device.record(end, bound.stream)
            return device.milliseconds(start, end) / 1000

        began = clock()
        once()  # the first one loads and compiles, however long that takes
        while clock() - began < wanted.warm_up:
            once()
        found: list[float] = []
        began = clock()
        while len(found) < wanted.runs or clock() - began < wanted.seconds:
            found.append(once())
    return Timed((tuple(found),))
