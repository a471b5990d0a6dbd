"""What the graph costs before the first pass and after the last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs

_NAME = re.compile(r"[^\W\d]\w*")


@dataclass
class Costing(Instrument):
    """Takes the costs of the input model, and of the finished graph."""

    dims: Mapping[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions."""
    first: Costs | None = None
    last: Costs | None = None

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Before.

        Raises:
            BadOption: `dims` names a dimension that no input has.
        """
        known = {name for symbol in symbols(graph) for name in (symbol, *_NAME.findall(symbol))}
        if unknown := sorted(set(self.dims) - known):
            raise BadOption(f"no input has a dimension '{unknown[0]}'; there are: {', '.join(sorted(known)) or 'none'}")
        self.first, self.last = costs_with(graph, self.dims), None

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """After."""
        self.last = costs_with(graph, self.dims)


def costs_with(graph: ir.Graph, dims: Mapping[str, int], *, infer: bool = True) -> Costs:
    """The costs of a graph. Sizes of dimensions that only stand in an expression, as in `past + 1`, do not count.

    Args:
        graph: A main graph.
        dims: Sizes of symbolic dimensions.
        infer: Infer the shapes that are not declared.
    """
    from onnxopt.ir.costs import costs

    known = symbols(graph)
    return costs(graph, {symbol: size for symbol, size in dims.items() if symbol in known}, infer=infer)


def symbols(graph: ir.Graph) -> set[str]:
    """The symbolic dimensions of the inputs, as the file has them."""
    return {dim for tensor in graph.inputs for dim in tensor.shape or () if isinstance(dim, str)}
