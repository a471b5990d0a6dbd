"""What the graph costs before the first pass and after the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs


@dataclass
class Costing(Instrument):
    """Takes the costs of the input model, and of the finished graph."""

    first: Costs | None = None
    last: Costs | None = None

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Before."""
        from onnxopt.ir.costs import costs

        self.first = costs(graph)

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """After."""
        from onnxopt.ir.costs import costs

        self.last = costs(graph)
