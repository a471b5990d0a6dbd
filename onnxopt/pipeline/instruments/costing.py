"""What the graph costs before the first pass and after the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs


@dataclass
class Costing(Instrument):
    """Takes the costs of the input model, and of the finished graph."""

    dims: Mapping[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions."""
    first: Costs | None = None
    last: Costs | None = None

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Before."""
        self.first, self.last = costs_with(graph, self.dims), None

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """After."""
        self.last = costs_with(graph, self.dims)


def costs_with(graph: ir.Graph, dims: Mapping[str, int]) -> Costs:
    """The costs of a graph, for sizes by symbol of which it may have lost some."""
    from onnxopt.ir.costs import costs

    symbols = {dim for tensor in graph.inputs for dim in tensor.shape or () if isinstance(dim, str)}
    return costs(graph, {symbol: size for symbol, size in dims.items() if symbol in symbols})
