"""Which pass, and which rewrite in it, breaks the outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed, PassFailed
from onnxopt.pipeline.base import Context, Rewrite
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Instrument, Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.source import Source

if TYPE_CHECKING:
    from onnxopt import ir
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


@dataclass
class StopBefore(Instrument):
    """Holds back every pass from number `index` on."""

    index: int

    def should_run(self, run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
        """Whether its turn is earlier."""
        return run.index < self.index


@dataclass
class _Bisection:
    source: Source
    pipeline: Pipeline
    data: DataSet | None
    target: str | None
    dims: dict[str, int]
    tick: Callable[[str], None]
    runs: int = 0
    last: Manager = field(default_factory=Manager)
    context: Context = field(default_factory=Context)

    def broken(self, passes: int | None = None, limit: int | None = None) -> str:
        """Run the first `passes` passes with the first `limit` rewrites; why the model is broken, or empty."""
        self.runs += 1
        last_pass, last_rewrite = ("the last" if number is None else number for number in (passes, limit))
        self.tick(f"run {self.runs}: passes up to {last_pass}, rewrites up to {last_rewrite}")
        ctx = Context(target=self.target, data=self.data, limit=limit)
        verify = Verify(self.data, each=False, dims=self.dims)
        stop = [] if passes is None else [StopBefore(passes + 1)]
        manager = Manager([verify, *stop])
        try:
            manager.run(self.source.load(), self.pipeline, ctx)
        except (CheckFailed, PassFailed) as error:
            if not manager.runs:
                raise  # the input model itself does not run
            return str(error)
        finally:
            self.last, self.context = manager, ctx
        return ""


def bisect(
    source: Source,
    pipeline: Pipeline,
    *,
    data: DataSet | None = None,
    target: str | None = None,
    dims: dict[str, int] | None = None,
    tick: Callable[[str], None] = lambda line: None,
) -> Culprit | None:
    """Find the first pass, then the first rewrite in it, that breaks the outputs, by binary search.

    The model counts as broken where `Verify` fails it or a pass raises. Each step runs the pipeline anew from the
    source: about log2(passes) + log2(rewrites) runs.

    Returns:
        The culprit; None where the whole pipeline breaks nothing.

    Raises:
        CheckFailed: The input model cannot be run.
    """
    search = _Bisection(source, pipeline, data, target, dict(dims or {}), tick)
    if not search.broken():
        return None
    count = len(search.last.runs)
    index = _first(1, count, lambda passes: bool(search.broken(passes=passes)))
    reason = search.broken(passes=index)
    run, rewrites = search.last.runs[index - 1], list(search.context.rewrites)
    before = run.first_rewrite
    if before == len(rewrites) or search.broken(passes=index, limit=before):
        return Culprit(run, None, None, reason, search.runs)
    number = _first(before + 1, len(rewrites), lambda limit: bool(search.broken(passes=index, limit=limit)))
    reason = search.broken(passes=index, limit=number)
    return Culprit(run, rewrites[number - 1], number, reason, search.runs)


def _first(low: int, high: int, is_broken: Callable[[int], bool]) -> int:
    """The smallest number in [low, high] that is broken, when `high` is and breakage lasts."""
    while low < high:
        middle = (low + high) // 2
        if is_broken(middle):
            high = middle
        else:
            low = middle + 1
    return low
