"""The search for the smallest pipeline and the smallest model that still fail in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxopt import ir
from onnxopt.errors import CheckFailed, OnnxoptError
from onnxopt.pipeline.pipeline import Pipeline, Repeat, Step
from onnxopt.pipeline.reduction.cuts import Change
from onnxopt.pipeline.reduction.failure import Failure
from onnxopt.pipeline.reduction.functions import without_functions
from onnxopt.pipeline.reduction.known import Known, inputs_for, learn, values_of
from onnxopt.pipeline.reduction.shrinking import shrink
from onnxopt.pipeline.reduction.strategy import count, cut
from onnxopt.pipeline.reduction.trial import Trial, complaint_of
from onnxopt.pipeline.source import Source
from onnxopt.runtime.forked import run_forked

if TYPE_CHECKING:
    from onnxopt.data import DataSet, Feeds

_PREPARING = 600.0
"""Seconds for the one run that tells the types and the numbers of all values."""


@dataclass(frozen=True)
class Reduced:
    """What is left."""

    graph: ir.Graph
    pipeline: Pipeline | None
    """None where there was none."""
    feeds: Feeds | None
    """The inputs on which it fails; None where the failure needs none and none are known."""
    failure: Failure
    first: Failure
    """The same failure, as the whole model showed it."""
    nodes: tuple[int, int]
    """Of all scopes, before and after."""
    passes: tuple[int, int]
    tried: int
    """How many candidates were run."""
    seconds: float
    is_minimal: bool
    """Whether no single node or pass can be left out; False where the time was up."""
    is_verified: bool
    """Whether the failure is one of the verification."""


class _OutOfTime(Exception):
    """--max-seconds are over."""


@dataclass
class Reduction:
    """A search, and what it works on.

    Args:
        source: The model that fails.
        pipeline: The passes that it fails in; None where `command` alone tells.
        data: Samples on which it fails; generated inputs where None.
        target, dims: As for a run.
        command: A shell command that ends with another status than 0 as long as the failure is there.
        timeout: Seconds for one candidate.
        max_seconds: After so many the search ends with what it has; None is no limit.
        tick: Told of every candidate.
    """

    source: Source
    pipeline: Pipeline | None
    data: DataSet | None = None
    target: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    command: str = ""
    timeout: float = 60.0
    max_seconds: float | None = None
    tick: Callable[[str], None] = lambda line: None

    def run(self) -> Reduced:
        """Search.

        Raises:
            CheckFailed: The model does not fail in the first place, not twice in the same way, or cannot be run.
            OnnxoptError: What was given cannot be used.
        """
        with TemporaryDirectory(prefix="onnxopt-reduce-") as folder:
            return _Search(self, Path(folder)).run()


class _Search:
    def __init__(self, asked: Reduction, folder: Path) -> None:
        import onnxruntime  # noqa: F401  here, so that no fork has to

        self.asked = asked
        self.folder = folder
        self.began = time.monotonic()
        self.trial = Trial(asked.target, asked.data is not None, asked.timeout, folder, command=asked.command)
        self.graph = asked.source.load()
        ir.sort(self.graph)
        self.pipeline = asked.pipeline.expand() if asked.pipeline else None
        self.known = Known()
        self.has_learnt = False
        self.feeds: list[Feeds] | None = None
        self.nodes = count(self.graph)
        self.failure: Failure

    def run(self) -> Reduced:
        first = self._first()
        passes = _passes(self.pipeline)
        minimal = True
        try:
            self._reduce_pipeline()
            self._prepare()
            pipeline: Pipeline | None = Pipeline(())
            while pipeline is not self.pipeline:  # with fewer passes fewer nodes may do
                pipeline = self.pipeline
                cut(self.graph, self._takes)
                self._reduce_pipeline()
        except _OutOfTime:
            minimal = False
        feeds = self._current_feeds()
        return Reduced(
            graph=self.graph,
            pipeline=self.pipeline,
            feeds=None if not feeds else {name: _in_memory(value) for name, value in feeds[0].items()},
            failure=self.failure,
            first=first,
            nodes=(self.nodes, count(self.graph)),
            passes=(passes, _passes(self.pipeline)),
            tried=self.trial.count,
            seconds=time.monotonic() - self.began,
            is_minimal=minimal,
            is_verified=self.trial.verifies,
        )

    # The failure

    def _first(self) -> Failure:
        """Find the failure of the whole model and one set of inputs that shows it."""
        self.trial.accepts_faults = bool(run_forked(lambda say: complaint_of(self.graph), _PREPARING).value)
        ended = run_forked(lambda say: inputs_for(self.graph, self.asked.data, dict(self.asked.dims)), _PREPARING)
        self.feeds = ended.value if ended.value is None or not self.asked.command else ended.value[:1]
        self._say("the model as it is")
        found = self._fails(self.feeds)
        if found is None and not self.asked.command:
            self.trial.verifies = True
            if self.feeds is None:
                raise CheckFailed(f"no pass raises, and the outputs cannot be verified: {ended.error}")
            found = self._fails(self.feeds)
        if found is None:
            what = self.asked.command or str(self.asked.pipeline)
            raise CheckFailed(f"`{what}` does not fail on {self.asked.source.name}: there is nothing to reduce")
        self.failure = found
        self._choose_inputs()
        return found

    def _fails(self, feeds: Sequence[Feeds] | None) -> Failure | None:
        return self.trial.failure(self.graph, self.pipeline, feeds)

    def _choose_inputs(self) -> None:
        """Keep the first set of inputs on which the failure is the same."""
        for one in self.feeds or ():
            if (found := self._fails([one])) == self.failure and found is not None:
                self.feeds, self.failure = [one], found
                return
        if self.feeds is None and self._fails(None) == self.failure:
            return
        raise CheckFailed(f"the failure comes and goes, so it cannot be reduced: {self.failure.message}")

    # The pipeline

    def _reduce_pipeline(self) -> None:
        if self.pipeline is None:
            return
        steps = list(self.pipeline.elements)

        def without(gone: Sequence[Step]) -> bool:
            left = [step for step in steps if not any(step is one for one in gone)]
            return bool(left) and self._takes_pipeline(Pipeline(tuple(left)), steps)

        shrink(list(steps), without)
        for step in list(steps):
            if isinstance(step, Repeat):
                place = next(index for index, one in enumerate(steps) if one is step)
                opened = [*steps[:place], *step.pipeline.elements, *steps[place + 1 :]]
                if self._takes_pipeline(Pipeline(tuple(opened)), steps):
                    self._reduce_pipeline()
                    return

    def _takes_pipeline(self, pipeline: Pipeline, steps: list[Step]) -> bool:
        self._tick()
        found = self._on_inputs(pipeline)
        if found != self.failure or found is None:
            return False
        self.failure, self.pipeline = found, pipeline
        steps[:] = pipeline.elements
        return True

    def _on_inputs(self, pipeline: Pipeline) -> Failure | None:
        try:
            return self.trial.failure(self.graph, pipeline, self._current_feeds())
        except OnnxoptError:  # a pass that misses what one before it had prepared
            return None

    def _current_feeds(self) -> list[Feeds] | None:
        if not self.has_learnt:
            return self.feeds
        feeds = self.known.feeds(self.graph)
        return None if feeds is None else [feeds]

    # The model

    def _prepare(self) -> None:
        self._inline_functions()
        self._learn()

    def _inline_functions(self) -> None:
        if not self.graph.functions:
            return
        self._tick()
        try:
            inlined = without_functions(self.graph)
            found = self.trial.failure(inlined, self.pipeline, self.feeds)
        except OnnxoptError:  # the inliner gave up on it, or made what does not run
            return
        if found == self.failure and found is not None:
            self.graph, self.failure = inlined, found

    def _learn(self) -> None:
        feeds = self.feeds[0] if self.feeds else None
        ended = run_forked(lambda say: learn(self.graph, feeds, self.folder), _PREPARING)
        for tensor, (facts, file) in zip(values_of(self.graph), ended.value or (), strict=bool(ended.value)):
            self.known.facts[tensor] = facts
            if file:
                self.known.files[tensor] = self.folder / file
        for tensor in self.graph.inputs:
            if feeds is not None and tensor.name in feeds:
                self.known.feed(tensor, feeds[tensor.name])
        self.has_learnt = True

    def _takes(self, change: Change) -> bool:
        """Try a change, and make it where the failure stays the same."""
        self._tick()
        found = self.trial.failure(self.graph, self.pipeline, None, change, self.known)
        if found != self.failure or found is None:
            return False
        change.apply(self.graph, self.known)
        self.failure = found
        return True

    def _tick(self) -> None:
        limit = self.asked.max_seconds
        if limit is not None and time.monotonic() - self.began > limit:
            raise _OutOfTime
        self._say(f"candidate {self.trial.count + 1}: {count(self.graph)} of {self.nodes} nodes left")

    def _say(self, line: str) -> None:
        self.asked.tick(line)


def _passes(pipeline: Pipeline | None) -> int:
    return sum(1 for _ in pipeline.passes()) if pipeline else 0


def _in_memory(value: Any) -> Any:
    """An array that no file of the search backs any more."""
    return np.array(value) if isinstance(value, np.ndarray) else value
