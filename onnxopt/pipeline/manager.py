"""Runs passes in order. Whatever watches them is an instrument."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from onnxopt.errors import OnnxoptError, PassFailed
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.options import format_options
from onnxopt.pipeline.pipeline import Pipeline, Repeat

if TYPE_CHECKING:
    from onnxopt import ir


def text_of(pass_: Pass) -> str:
    """A pass as a pipeline names it, options included."""
    return pass_.pass_name() + format_options(pass_)


@dataclass
class PassRun:
    """One execution of one pass, as it is going on or as it went."""

    index: int
    """Its number in the run, from 1; the rounds of a `repeat` count on, but for passes that have nothing new to see."""
    pass_: Pass
    changed: bool = False
    skipped: bool = False
    """Whether an instrument held it back."""
    first_rewrite: int = 0
    """How many rewrites the passes before it made."""
    rewrites: int = 0
    """How many rewrites it made."""
    seconds: float = 0.0
    """Wall time of the pass, the sorting after it included; no instrument."""
    taken_back: str = ""
    """Why its changes were undone; empty where they stand."""
    error: Exception | None = None
    """What it raised; PassFailed for whatever is not meant for the user."""

    @property
    def name(self) -> str:
        """The pass's name."""
        return self.pass_.pass_name()

    @property
    def text(self) -> str:
        """The pass as a pipeline names it, options included."""
        return text_of(self.pass_)


class Instrument:
    """Watches a run. It may hold a pass back, and it may raise; it does not edit what the graph computes."""

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


class Guard(Protocol):
    """Judges each pass by what became of the graph, and may take it back."""

    def start(self, graph: ir.Graph) -> None:
        """Before the first pass."""

    def takes_back(self, run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
        """After a pass that changed `graph`: whether it was brought back to what it was before the pass."""

    def finish(self) -> None:
        """After the last pass."""


@dataclass
class Manager:
    """Runs a pipeline on a graph, in place, under the eyes of instruments."""

    instruments: Sequence[Instrument] = ()
    guard: Guard | None = None
    """May undo what a pass did."""
    runs: list[PassRun] = field(default_factory=list)
    """Every pass that was reached, in order."""
    current: PassRun | None = None
    """The pass that is running or being looked at; None before the first and after the last."""
    _changes: int = 0
    """How many passes changed the graph so far."""
    _idle: dict[str, int] = field(default_factory=dict)
    """What `_changes` was when a pass, by its text, last found nothing to do."""
    _barred: set[str] = field(default_factory=set)
    """Passes that the guard took back."""

    def run(self, graph: ir.Graph, pipeline: Pipeline, ctx: Context) -> None:
        """Run every pass of `pipeline`.

        Raises:
            PassFailed: A pass raised something that is not meant for the user, or left a graph that is none; the graph
                is not to be used.
            OnnxoptError: A pass or an instrument says what the user did wrong, or which check failed.
        """
        from onnxopt import ir
        from onnxopt.ir.collector import gc_spared

        ir.sort(graph)  # a file's nodes may stand in any order; passes, and those who watch them, rely on one
        with gc_spared():
            for instrument in self.instruments:
                instrument.start(graph, ctx)
            if self.guard is not None:
                self.guard.start(graph)
            self._run_all(graph, pipeline.expand(), ctx)
        self.current, ctx.current = None, ""
        ctx.touched.clear()
        ctx.close()
        if self.guard is not None:
            self.guard.finish()
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
            elif isinstance(step, Pass) and self._has_news(step) and _has_needs(step, graph, ctx):
                changed |= self._run_one(graph, step, ctx)
        return changed

    def _has_news(self, pass_: Pass) -> bool:
        """Whether the graph changed since this pass, with these options, had nothing to do on it.

        The last round of a `repeat` would otherwise run every pass only to see that.
        """
        text = text_of(pass_)
        return text not in self._barred and self._idle.get(text) != self._changes

    def _run_one(self, graph: ir.Graph, pass_: Pass, ctx: Context) -> bool:
        run = PassRun(len(self.runs) + 1, pass_, first_rewrite=len(ctx.rewrites))
        self.runs.append(run)
        self.current, ctx.current = run, run.name
        ctx.touched.clear()
        if not all(instrument.should_run(run, graph, ctx) for instrument in self.instruments):
            run.skipped = True
            return False
        for instrument in self.instruments:
            instrument.before(run, graph, ctx)
        began = time.perf_counter()
        try:
            run.changed = _execute(run, graph, ctx)
        except Exception as error:  # a pass may be anybody's code
            run.error = error
            for instrument in self.instruments:
                instrument.failed(run, graph, ctx)
            raise
        finally:
            run.seconds = time.perf_counter() - began
            run.rewrites = len(ctx.rewrites) - run.first_rewrite
        if run.changed and self.guard is not None and self.guard.takes_back(run, graph, ctx):
            self._take_back(run, ctx)
        for instrument in self.instruments:
            instrument.after(run, graph, ctx)
        if run.changed:
            self._changes += 1
        else:
            self._idle[run.text] = self._changes
        return run.changed

    def _take_back(self, run: PassRun, ctx: Context) -> None:
        """Forget what a pass did, and let it not try again."""
        run.changed, run.rewrites = False, 0
        del ctx.rewrites[run.first_rewrite :]
        ctx.touched.clear()
        ctx.forget()
        self._barred.add(run.text)


def _has_needs(pass_: Pass, graph: ir.Graph, ctx: Context) -> bool:
    """Whether the graph has an operator that the pass is about."""
    return not pass_.needs or not ctx.analysis(_operators, graph).isdisjoint(pass_.needs)


def _operators(graph: ir.Graph) -> frozenset[str]:
    from onnxopt import ir

    return frozenset(node.op for node in ir.every_node(graph))


def _execute(run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
    """Run a pass, and bring the graph into order where the pass says that it changed something."""
    from onnxopt import ir

    who = f"pass {run.index}, {run.text},"
    try:
        changed = run.pass_.run(graph, ctx)
    except OnnxoptError:
        raise
    except Exception as error:
        raise PassFailed(f"{who} failed: {first_line(error)}") from error
    if changed is None:  # the commonest slip: a pass that ends without `return`
        raise PassFailed(f"{who} returned None; a pass returns whether it changed anything")
    if not changed:
        return False
    ctx.forget()
    try:
        ir.adopt(graph)
        ir.sort(graph)
    except Exception as error:  # plain graphsurgeon objects can be put together in any way
        raise PassFailed(f"{who} left a graph that is none: {first_line(error)}") from error
    return True


def first_line(error: BaseException) -> str:
    """What an exception says, in one line: our own as they are, others after their class."""
    text = " ".join(str(error).strip().split("\n")[:1])
    return (
        text if isinstance(error, OnnxoptError) else f"{type(error).__name__}: {text}" if text else type(error).__name__
    )
