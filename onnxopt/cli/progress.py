"""A bar for work that takes over a second, on a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir

_PATIENCE = 1.0
"""Seconds before a bar appears."""
_PERIOD = 0.05
"""Seconds between two updates of a step: a pass reports every node, which must not cost more than the pass."""


class Progress(Instrument):
    """Shows which pass is running and how far it is. Used as a context manager around the run."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
        from rich.text import Text

        from onnxopt.cli.console import console

        class RateColumn(ProgressColumn):
            """How many a second a step does."""

            def render(self, task: Task) -> Text:
                return Text(rate(task.speed) if task.fields.get("is_step") else "")

        out = console(to_stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            RateColumn(),
        )
        self._enabled = out.is_interactive
        # rich would send what goes to stdout, a pipe say, to the console of the bars, which is stderr.
        self._bars: Any = Bars(*columns, console=out, transient=True, disable=not self._enabled, redirect_stdout=False)
        self._passes = self._bars.add_task("", total=None)
        self._step: Any = None
        self._what = ""
        self._next = 0.0
        self._lock = threading.RLock()
        self._is_live = False
        self._timer = threading.Timer(_PATIENCE, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Progress:
        if self._enabled:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._enabled = False
            self._hide()

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
        """How far a long step is; what a pass calls through its context. A total of 0 is not known."""
        now = time.monotonic()
        if not self._enabled or (now < self._next and done != total):
            return
        self._next = now + _PERIOD
        if self._step is not None and what != self._what:  # the next step has a rate of its own
            self._bars.remove_task(self._step)
            self._step = None
        if self._step is None:
            self._step, self._what = self._bars.add_task(what, total=total or None, is_step=True), what
        self._bars.update(self._step, description=f"  {what}", completed=done, total=total or None)

    def say(self, line: str) -> None:
        """What is going on, for work that has no passes to count."""
        self._bars.update(self._passes, description=line)

    def aside(self, write: Callable[[str], None]) -> Callable[[str], None]:
        """`write`, with the bars out of the way meanwhile."""

        def written(text: str) -> None:
            with self._lock:
                was_live = self._is_live
                self._hide()
                write(text)
                if was_live:
                    self._show()

        return written

    def _show(self) -> None:
        with self._lock:
            if self._enabled and not self._is_live:
                self._is_live = True
                self._bars.start()

    def _hide(self) -> None:
        if self._is_live:
            self._is_live = False
            self._bars.stop()


def rate(speed: float | None) -> str:
    """How many a second, as a bar shows it; nothing where that is not known yet."""
    if not speed:
        return ""
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"
