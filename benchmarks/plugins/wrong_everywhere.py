"""A plug-in with faults that need a certain node in a certain place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves


@dataclass(frozen=True)
class MatmulToGemm(Pass):
    """Make one Gemm of each MatMul with the Add behind it; the bias `forgets` is lost on the way."""

    preserves: ClassVar[Preserves] = Preserves.VALUES

    forgets: str = "b42"
    """The name of that initializer."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        with ir.edit(graph) as edit:
            for node in list(ir.every_node(graph)):
                reader = edit.sole_reader(node.outputs[0]) if node.is_op("MatMul") else None
                if reader is None or not reader.is_op("Add") or not ctx.allow("made a Gemm", node):
                    continue
                bias = reader.inputs[1]
                inputs = [*node.inputs, *([] if bias.name == self.forgets else [bias])]
                made = ir.Variable(edit.fresh("gemm"), node.outputs[0].dtype, node.outputs[0].shape)
                edit.insert_before(reader, ir.Node("Gemm", edit.fresh("Gemm"), {}, inputs, [made]))
                edit.replace_all_uses(reader.outputs[0], made)
                edit.remove(reader)
                edit.remove(node)
        return edit.changed


@dataclass(frozen=True)
class TripsDeepInside(Pass):
    """Raise at a Tanh of an Identity in an If that is in an If."""

    at: str = "Tanh"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        for depth, node in _nested(graph):
            if depth > 1 and node.is_op("Tanh") and node.name == self.at:
                source = node.inputs[0].producer
                if source.is_op("Identity"):
                    raise IndexError(f"no room for {node.name}")
        return False


@dataclass(frozen=True)
class Aborts(Pass):
    """Kill the process at a Reshape to a shape that is computed of that of its own input."""

    at: str = "Reshape_265"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        for node in graph.nodes:
            if node.is_op("Reshape") and node.name == self.at and node.inputs[1].producer is not None:
                sources = {node.inputs[1]}
                for _ in range(4):
                    sources |= {tensor for one in sources if one.producer for tensor in one.producer.inputs}
                if node.inputs[0] in sources:
                    os.abort()
        return False


def _nested(graph: ir.Graph, depth: int = 0) -> Iterator[tuple[int, ir.Node]]:
    for node in graph.nodes:
        yield depth, node
        for inner in node.subgraphs():
            yield from _nested(inner, depth + 1)
