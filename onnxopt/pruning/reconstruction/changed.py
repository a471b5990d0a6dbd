"""What a lossy pass has touched: the nodes that give out something else than in the original."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import with_inner_nodes
from onnxopt.linear.match import constant_of


def read_by(node: ir.Node) -> list[ir.Tensor]:
    """What a node reads, in its subgraphs too."""
    return [tensor for each in with_inner_nodes([node]) for tensor in each.inputs if tensor.name]


def changed_nodes(graph: ir.Graph, original: ir.Graph) -> set[ir.Node]:
    """Those of the main graph that differ from the original's of the same output, or read what such a one gives out.

    Constants are compared by their numbers. Where in doubt (another name, a subgraph) a node counts as changed.
    """
    twins = {tensor.name: node for node in original.nodes for tensor in node.outputs if tensor.name}
    changed: set[ir.Node] = set()
    for node in graph.nodes:
        twin = twins.get(node.outputs[0].name) if node.outputs else None
        upstream = any(tensor.producer in changed for tensor in read_by(node) if tensor.producer is not None)
        if upstream or twin is None or not _alike(node, twin):
            changed.add(node)
    return changed


def _alike(node: ir.Node, twin: ir.Node) -> bool:
    if node.op == "Constant":
        return twin.op == "Constant"  # compared where it is read
    if node.op != twin.op or len(node.inputs) != len(twin.inputs) or any(True for _ in node.subgraphs()):
        return False
    return all(_same(one, other) for one, other in zip(node.inputs, twin.inputs, strict=True))


def _same(tensor: ir.Tensor, other: ir.Tensor) -> bool:
    mine, its = constant_of(tensor), constant_of(other)
    if mine is None or its is None:
        return mine is its and tensor.name == other.name
    return mine.shape == its.shape and mine.dtype == its.dtype and bool(np.array_equal(mine.read(), its.read()))
