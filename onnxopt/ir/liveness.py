"""When values are alive, and how much memory they take while they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable

SizeOf = Callable[[Tensor], int]
"""Bytes of a value."""


def reads(node: Node) -> Iterator[Tensor]:
    """The tensors that a node reads, itself and in its subgraphs; those made inside its subgraphs are among them."""
    yield from node.inputs
    if node.attrs:
        for subgraph in node.subgraphs():
            for inner in subgraph.nodes:
                yield from reads(inner)
            yield from subgraph.outputs


def is_activation(tensor: Tensor) -> bool:
    """Whether a tensor takes memory of its own when the model runs: neither omitted nor a weight."""
    if not tensor.name or isinstance(tensor, Constant):
        return False
    if isinstance(tensor, Variable) and tensor.default is not None:
        return False
    return tensor.producer is None or not tensor.producer.is_op("Constant")


def peak_bytes(graph: Graph, size_of: SizeOf) -> int:
    """The most bytes of activations that are alive at once when the nodes run one by one, in their order.

    A value is alive from the node that makes it until the last node that reads it, in a subgraph or not; one that
    nobody reads, during its node only. Inputs and outputs of the graph belong to the caller: inputs are alive
    throughout, outputs until the end. Every value has memory of its own (no operator works in place, no view shares
    memory) and weights are not counted. While a node with subgraphs runs, the largest of these counts on top, with its
    inputs and outputs. What a runtime allocates differs: this is the figure that schedules and graphs compare by.
    """
    last: dict[Tensor, int] = {}
    for place, node in enumerate(graph.nodes):
        for tensor in reads(node):
            last[tensor] = place
    for tensor in (*graph.inputs, *graph.outputs):
        last[tensor] = len(graph.nodes)
    alive = sum(size_of(tensor) for tensor in graph.inputs if is_activation(tensor))
    peak = alive
    held: set[Tensor] = set()
    for place, node in enumerate(graph.nodes):
        made = [tensor for tensor in node.outputs if is_activation(tensor)]
        held.update(made)
        alive += sum(map(size_of, made))
        inner = max((peak_bytes(sub, size_of) for sub in node.subgraphs()), default=0) if node.attrs else 0
        peak = max(peak, alive + inner)
        for tensor in {*reads(node), *made}:
            if tensor in held and last.get(tensor, place) == place:
                held.discard(tensor)
                alive -= size_of(tensor)
    return peak
