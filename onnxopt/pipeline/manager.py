"""Runs passes in order. Whatever watches them is an instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import OnnxoptError, PassFailed
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.options import format_options
from onnxopt.pipeline.pipeline import Pipeline, Repeat

if TYPE_CHECKING:
    from onnxopt import ir


@dataclass
class PassRun:
    """One execution of one pass, as it is going on or as it went."""

    index: int
    """Its number in the run, from 1; the rounds of a `repeat` count on."""
    pass_: Pass
    changed: bool = False
    skipped: bool = False
    """Whether an instrument held it back."""
    first_rewrite: int = 0
    """How many rewrites the passes before it made."""
    rewrites: int = 0
    """How many rewrites it made."""
    error: Exception | None = None
    """What it raised."""

    @property
    def name(self) -> str:
        """The pass's name."""
        return self.pass_.pass_name()

    @property
    def text(self) -> str:
        """The pass as a pipeline names it, options included."""
        return self.name + format_options(self.pass_)


class Instrument:
    """Watches a run. It may hold a pass back, and it may raise; it does not edit the graph."""

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Before the first pass."""

    def should_run(self, run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
        """Whether the pass may run."""
        return True

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Before a pass that will run."""

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """After a pass, when the graph is sorted again."""

    def failed(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """A pass raised `run.error`; the graph may be in any state."""

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """After the last pass, when none failed."""


@dataclass
class Manager:
    """Runs a pipeline on a graph, in place, under the eyes of instruments."""

    instruments: Sequence[Instrument] = ()
    runs: list[PassRun] = field(default_factory=list)
    """Every pass that was reached, in order."""

    def run(self, graph: ir.Graph, pipeline: Pipeline, ctx: Context) -> None:
        """Run every pass of `pipeline`.

        Raises:
            PassFailed: A pass raised something that is not meant for the user; its graph is not to be used.
            OnnxoptError: A pass or an instrument says what the user did wrong, or which check failed.
        """
        for instrument in self.instruments:
            instrument.start(graph, ctx)
        self._run_all(graph, pipeline.expand(), ctx)
        ctx.current = ""
        for instrument in self.instruments:
            instrument.finish(graph, ctx)

    def _run_all(self, graph: ir.Graph, pipeline: Pipeline, ctx: Context) -> bool:
        changed = False
        for step in pipeline.elements:
            if isinstance(step, Repeat):
                for _ in range(step.max):
                    if not self._run_all(graph, step.pipeline, ctx):
                        break
                    changed = True
            elif isinstance(step, Pass):
                changed |= self._run_one(graph, step, ctx)
        return changed

    def _run_one(self, graph: ir.Graph, pass_: Pass, ctx: Context) -> bool:
        from onnxopt import ir

        run = PassRun(len(self.runs) + 1, pass_, first_rewrite=len(ctx.rewrites))
        self.runs.append(run)
        ctx.current = run.name
        if not all(instrument.should_run(run, graph, ctx) for instrument in self.instruments):
            run.skipped = True
            return False
        for instrument in self.instruments:
            instrument.before(run, graph, ctx)
        try:
            run.changed = bool(pass_.run(graph, ctx))
            if run.changed:
                ir.adopt(graph)
                ir.sort(graph)
        except Exception as error:  # a pass may be anybody's code
            run.error = error
            for instrument in self.instruments:
                instrument.failed(run, graph, ctx)
            if isinstance(error, OnnxoptError):
                raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise PassFailed(f"pass {run.index}, {run.text}, failed: {reason}") from error
        run.rewrites = len(ctx.rewrites) - run.first_rewrite
        for instrument in self.instruments:
            instrument.after(run, graph, ctx)
        return run.changed
