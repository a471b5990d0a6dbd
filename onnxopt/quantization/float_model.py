"""The float model that `quantize` started from, for passes behind it that compare with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxopt import ir


@dataclass(frozen=True)
class FloatModel:
    """Left by `quantize` with `Context.keep`. Weights are shared with the model that goes on, until one is written."""

    graph: ir.Graph
    twins: Mapping[ir.Node, ir.Node]
    """For each node of the main graph as it goes on: what it was, in `graph`."""

    @classmethod
    def of(cls, graph: ir.Graph) -> FloatModel:
        """A copy of a graph that is about to be quantized."""
        copy = graph.copy()
        return cls(copy, dict(zip(graph.nodes, copy.nodes, strict=True)))
