"""Per pass: what the graph costs before and after. The seconds and rewrites are the manager's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.costing import costs_with
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs


@dataclass(frozen=True)
class Timed:
    """The figures of one pass."""

    run: PassRun
    before: Costs
    after: Costs


@dataclass
class Timing(Instrument):
    """Takes the costs round every pass; `table` has the figures in order."""

    dims: Mapping[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions."""
    table: list[Timed] = field(default_factory=list)
    _costs: Costs | None = None

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Begin a new table."""
        self.table, self._costs = [], None

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Take the costs, unless the pass before left them."""
        self._costs = self._costs or costs_with(graph, self.dims)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Take the costs, if the pass changed the graph."""
        before = self._costs
        assert before is not None, "before() has run"
        if run.changed:
            self._costs = costs_with(graph, self.dims)
        self.table.append(Timed(run, before, self._costs or before))
