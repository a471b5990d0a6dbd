"""A model that another process runs: it runs ahead of who asks, on the same data, for starting one costs seconds."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from onnxopt.data import DataSet, Feeds, ValueSpec
from onnxopt.runtime.evaluation import Subject, suited

_FIRST, _MOST = 4, 512
"""How many batches go to the first child, and the most that go to one."""
_SECONDS = 60.0
"""While a child takes less, the next one gets twice as much: each has to start and load the artifact, and none tells
how far it is."""
_AHEAD_BYTES = 1 << 28
"""Of inputs that go to one child."""


class Ahead(Subject):
    """An artifact, judged as a model.

    Args:
        name: As messages call it.
        inputs: What it takes.
        data: What it will be asked for, batch by batch, in order.
        run_all: Runs it in a child process, on some batches.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[ValueSpec],
        data: DataSet,
        run_all: Callable[[list[Feeds]], Sequence[Feeds]],
    ) -> None:
        self.name = name
        self.skipped = set()
        self._specs, self._run_all, self._pending = tuple(inputs), run_all, data.batches()
        self._done: deque[tuple[Feeds, Feeds]] = deque()
        self._ahead = _FIRST

    @property
    def inputs(self) -> tuple[ValueSpec, ...]:
        """What it takes."""
        return self._specs

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs for the next batch of the data.

        Raises:
            OnnxoptError: What `run_all` raises.
        """
        if not self._done:
            self._run_ahead()
        expected, outputs = self._done.popleft()
        if any(not np.array_equal(expected[name], feeds[name]) for name in expected):
            raise RuntimeError(f"{self.name} was asked for other samples than it was given")
        return outputs

    def _run_ahead(self) -> None:
        given = list(_few(self._pending, self._ahead))
        began = time.monotonic()
        outputs = self._run_all([suited(fed, self.inputs) for fed in given])
        if time.monotonic() - began < _SECONDS:
            self._ahead = min(_MOST, 2 * self._ahead)
        self._done.extend(zip(given, outputs, strict=True))


def _few(batches: Iterator[Feeds], count: int) -> Iterator[Feeds]:
    """As many as go to one child."""
    size = 0
    for fed in itertools.islice(batches, count):
        yield fed
        size += sum(np.asarray(value).nbytes for value in fed.values())
        if size > _AHEAD_BYTES:
            return
