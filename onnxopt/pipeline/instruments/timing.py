"""Per pass: seconds, rewrites, and what the graph costs before and after."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs


@dataclass(frozen=True)
class Timed:
    """The figures of one pass."""

    run: PassRun
    seconds: float
    """Wall time of the pass alone: no instrument, no costing."""
    before: Costs
    after: Costs


@dataclass
class Timing(Instrument):
    """Measures every pass; `table` has the figures in order."""

    table: list[Timed] = field(default_factory=list)
    _costs: Costs | None = None
    _began: float = 0.0

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Take the costs, then start the clock."""
        from onnxopt.ir.costs import costs

        if self._costs is None:
            self._costs = costs(graph)
        self._began = time.perf_counter()

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Stop the clock, then take the costs."""
        from onnxopt.ir.costs import costs

        seconds = time.perf_counter() - self._began
        before = self._costs
        assert before is not None, "before() has run"
        if run.changed:
            self._costs = costs(graph)
        self.table.append(Timed(run, seconds, before, self._costs or before))
