"""Which pass, and which rewrite in it, breaks the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed, PassFailed
from onnxopt.pipeline.base import Context, Rewrite
from onnxopt.pipeline.instruments.stop_before import StopBefore
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.source import Source

if TYPE_CHECKING:
    from onnxopt.data import DataSet


@dataclass(frozen=True)
class Culprit:
    """What a bisection found."""

    run: PassRun
    """The first pass after which the model is broken."""
    rewrite: Rewrite | None
    """The first rewrite in it that breaks the model; None where the pass breaks it without asking `ctx.allow`."""
    number: int | None
    """The rewrite's number in the whole run, as `--limit` counts; `--limit NUMBER` includes it."""
    reason: str
    """What is broken, in one line."""
    runs: int
    """How many times the pipeline was run."""


def bisect(
    source: Source,
    pipeline: Pipeline,
    *,
    data: DataSet | None = None,
    target: str | None = None,
    dims: Mapping[str, int] | None = None,
    tick: Callable[[str], None] = lambda line: None,
) -> Culprit | None:
    """Find the first pass that breaks the outputs, then the first rewrite in it.

    The model counts as broken where `Verify` fails it or a pass raises. The pass is the first that a verified run stops
    at; the rewrite is found by binary search, each step being a run from the source up to that pass: about
    2 + log2(rewrites) runs.

    Returns:
        The culprit; None where the whole pipeline breaks nothing.

    Raises:
        CheckFailed: The input model cannot be run.
    """
    search = _Search(source, pipeline, data, target, dict(dims or {}), tick)
    if not search.broken():
        return None
    run, rewrites, reason = search.manager.runs[-1], list(search.context.rewrites), search.reason
    before = run.first_rewrite
    if before == len(rewrites) or search.broken(run.index, before):
        return Culprit(run, None, None, reason, search.runs)
    number = _first(before + 1, len(rewrites), lambda limit: search.broken(run.index, limit))
    return Culprit(run, rewrites[number - 1], number, search.reasons.get(number, reason), search.runs)


@dataclass
class _Search:
    source: Source
    pipeline: Pipeline
    data: DataSet | None
    target: str | None
    dims: dict[str, int]
    tick: Callable[[str], None]
    runs: int = 0
    reason: str = ""
    """Why the model was broken in the last run; empty where it was not."""
    reasons: dict[int, str] = field(default_factory=dict)
    """The same by limit."""
    manager: Manager = field(default_factory=Manager)
    context: Context = field(default_factory=Context)

    def broken(self, index: int | None = None, limit: int | None = None) -> bool:
        """Whether the model breaks: in any pass, or in pass `index` with the first `limit` rewrites of the run."""
        self.runs += 1
        self.tick(f"run {self.runs}: " + ("every pass" if index is None else f"pass {index}, {limit} rewrites"))
        verify = Verify(self.data, dims=self.dims, fixed=self.pipeline.fixed_dims(), since=index or 1)
        stop = [] if index is None else [StopBefore(index + 1)]
        self.manager = Manager([verify, *stop])
        self.context = Context(target=self.target, data=self.data, limit=limit)
        self.reason = ""
        try:
            self.manager.run(self.source.load(), self.pipeline, self.context)
        except (CheckFailed, PassFailed) as error:
            run = self.manager.current
            if run is None or run.index < (index or 1):
                raise  # not of the pass in question: the model cannot be read or run
            self.reason = str(error)
        if limit is not None:
            self.reasons[limit] = self.reason
        return bool(self.reason)


def _first(low: int, high: int, is_broken: Callable[[int], bool]) -> int:
    """The smallest number in [low, high] that is broken, when `high` is and breakage lasts."""
    while low < high:
        middle = (low + high) // 2
        if is_broken(middle):
            high = middle
        else:
            low = middle + 1
    return low
