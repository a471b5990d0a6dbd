"""A bar for work that takes over a second, on a terminal."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir

_PATIENCE = 1.0
"""Seconds before a bar appears."""


class Progress(Instrument):
    """Shows which pass is running and how far it is. Used as a context manager around the run."""

    def __init__(self, total: int | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        from onnxopt.cli.console import stderr

        console = stderr()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars: Any = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._passes = self._bars.add_task("passes", total=total)
        self._step: Any = None
        self._timer = threading.Timer(_PATIENCE, self._bars.start)
        self._timer.daemon = True

    def __enter__(self) -> Progress:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._bars.stop()

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Name the pass."""
        self._bars.update(self._passes, description=f"{run.index} {run.name}")

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """One pass more is done."""
        self._bars.advance(self._passes)
        if self._step is not None:
            self._bars.remove_task(self._step)
            self._step = None

    def report(self, what: str, done: int, total: int) -> None:
        """How far a long step is; what a pass calls through its context."""
        if self._step is None:
            self._step = self._bars.add_task(what, total=total)
        self._bars.update(self._step, description=f"  {what}", completed=done, total=total)

    def say(self, line: str) -> None:
        """What is going on, for work that has no passes to count."""
        self._bars.update(self._passes, description=line)
