"""An artifact on Qualcomm's emulator, judged beside an ONNX model in onnxruntime."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxopt.backends.qnn.digest import sha256_of
from onnxopt.backends.qnn.htp import TIMEOUT, WRAPPER, run_context
from onnxopt.backends.qnn.place import working_folder
from onnxopt.backends.qnn.wrapper import write_wrapper
from onnxopt.data import DataSet, Feeds, ValueSpec
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadModel, CheckFailed
from onnxopt.pipeline.sidecar import read_sidecar, sidecar_path
from onnxopt.runtime.evaluation import Accuracy, Subject, suited
from onnxopt.runtime.evaluation import evaluate as judge

_FIRST, _MOST = 4, 512
"""How many batches go to the first child, and the most that go to one."""
_SECONDS = 60.0
"""While a child takes less, the next one gets twice as much: each has to start and load the context binary, and none
tells how far it is."""
_AHEAD_BYTES = 1 << 28
"""Of inputs that go to one child."""
_PATIENCE = 60.0
"""Seconds that a batch may take, besides the usual time of a child."""
_BINARY = "context.bin"


def evaluate(
    artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
) -> Accuracy:
    """As `Backend.evaluate`."""
    facts, binary = _context_of(artifact)
    with working_folder() as place:
        write_wrapper(place / WRAPPER, facts["context_binary"], _BINARY)
        (place / _BINARY).symlink_to(binary.resolve())
        batch = _batch(facts["context_binary"]["inputs"], data)
        if batch != 1:
            data = replace(data, layout=replace(data.layout, batch=batch))
        emulated = Emulated(str(artifact), facts, place, data)
        return judge(Subject(str(reference), reference), emulated, data, metric, report)


class Emulated(Subject):
    """A context binary on the emulator. It runs ahead of who asks, on the same data, for a child costs a second."""

    def __init__(self, name: str, facts: dict[str, Any], place: Path, data: DataSet) -> None:
        self.name = name
        self.skipped = set()
        self._soc = int(facts["soc"]["id"])
        self._place, self._pending = place, data.batches()
        self._specs = tuple(_spec(each) for each in facts["context_binary"]["inputs"])
        self._done: deque[tuple[Feeds, Feeds]] = deque()
        self._ahead = _FIRST

    @property
    def inputs(self) -> tuple[ValueSpec, ...]:
        """What it takes."""
        return self._specs

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs for the next batch of the data.

        Raises:
            CheckFailed: The emulator crashed, failed, or took too long.
        """
        if not self._done:
            self._run_ahead()
        expected, outputs = self._done.popleft()
        if any(not np.array_equal(expected[name], feeds[name]) for name in expected):
            raise RuntimeError("the emulator was asked for other samples than it was given")
        return outputs

    def _run_ahead(self) -> None:
        given = list(_few(self._pending, self._ahead))
        feeds = [suited(fed, self.inputs) for fed in given]
        began = time.monotonic()
        ran = run_context(self._place, self._soc, feeds, TIMEOUT + _PATIENCE * len(feeds))
        if not ran.ok:
            raise CheckFailed(f"{self.name}: {ran.why}")
        if time.monotonic() - began < _SECONDS:
            self._ahead = min(_MOST, 2 * self._ahead)
        self._done.extend(zip(given, ran.outputs, strict=True))


def _few(batches: Iterator[Feeds], count: int) -> Iterator[Feeds]:
    """As many as go to one child."""
    size = 0
    for fed in itertools.islice(batches, count):
        yield fed
        size += sum(np.asarray(value).nbytes for value in fed.values())
        if size > _AHEAD_BYTES:
            return


def _context_of(artifact: Path) -> tuple[dict[str, Any], Path]:
    """What the sidecar says, and the context binary: the artifact itself, or the one that was written beside a DLC."""
    facts = read_sidecar(artifact)
    if facts is None:
        raise BadModel(
            f"{artifact} has no sidecar {sidecar_path(artifact).name}, which tells its inputs and outputs; of a "
            "context binary that was written beside a DLC, name the DLC"
        )
    if not isinstance(facts.get("soc"), dict) or "sha256" not in facts:
        raise BadModel(f"{sidecar_path(artifact)} is no sidecar of a DLC or a context binary")
    _require_same(artifact, facts["sha256"])
    known = facts.get("context_binary")
    if known is None:
        raise BadModel(
            f"{artifact}: no engine here runs a DLC by itself, and no context binary was written beside it: emit it "
            "with context-binary=PATH"
        )
    binary = artifact.parent / known["file"]
    if not binary.is_file():
        raise BadModel(f"{artifact}: its context binary {binary} is not there")
    _require_same(binary, known["sha256"])
    return facts, binary


def _require_same(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise BadModel(f"{path} is not there")
    if sha256_of(path) != sha256:
        raise BadModel(f"{path} is not what its sidecar was written of: emit it again")


def _batch(inputs: Sequence[dict[str, Any]], data: DataSet) -> int:
    """Samples that the artifact takes at a time."""
    stacked = [each["shape"][0] for each in inputs if each["name"] not in data.layout.whole and each["shape"]]
    return int(stacked[0]) if stacked else 1


def _spec(facts: dict[str, Any]) -> ValueSpec:
    return ValueSpec(facts["name"], dtype=np.dtype(facts["dtype"]), shape=tuple(facts["shape"]))
