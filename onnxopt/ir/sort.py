"""Topological order: stable, iterative, and nothing moves in a graph that is sorted already."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from onnxopt.errors import BadModel
from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.node import Node


def sort(graph: Graph) -> bool:
    """Sort every scope of a model; return whether any node moved.

    Raises:
        BadModel: The nodes form a cycle; one of those in it is named.
    """
    moved = [sort_scope(scope) for scope in every_graph(graph)]  # every one: `any` would stop at the first
    return any(moved)


def sort_scope(graph: Graph) -> bool:
    """Sort one scope: among the nodes that could come next, the one that stood first comes first."""
    if _is_sorted(graph.nodes):
        return False
    place = {node: index for index, node in enumerate(graph.nodes)}
    waits: list[int] = [0] * len(place)
    readers: list[list[int]] = [[] for _ in place]
    for node, index in place.items():
        for needed in {place[needed] for needed in producers(node) if needed in place}:
            readers[needed].append(index)
            waits[index] += 1
    ready = [index for index, count in enumerate(waits) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(place):
        raise BadModel(f"graph '{graph.name}' has a cycle through {_in_cycle(graph.nodes, place, waits).label}")
    graph.nodes[:] = [graph.nodes[index] for index in order]
    return True


def _is_sorted(nodes: list[Node]) -> bool:
    """Whether each node stands behind those of the same list that it needs; asked of every graph, time and again."""
    done: set[Node] = set()
    elsewhere: list[Node] = []
    for node in nodes:
        for tensor in node.inputs:
            made = tensor.inputs
            if made and made[0] not in done:
                elsewhere.append(made[0])
        if node.attrs:
            for subgraph in node.subgraphs():
                elsewhere += [needed for needed in _read_inside(subgraph) if needed not in done]
        done.add(node)
    return done.isdisjoint(elsewhere)


def _in_cycle(nodes: list[Node], place: dict[Node, int], waits: list[int]) -> Node:
    """One of the nodes in a cycle: who waits has a producer that waits, and going on, comes back."""
    node = nodes[next(index for index, count in enumerate(waits) if count)]
    seen: set[Node] = set()
    while node not in seen:
        seen.add(node)
        node = next(needed for needed in producers(node) if needed in place and waits[place[needed]])
    return node


def producers(node: Node) -> Iterator[Node]:
    """The nodes whose outputs a node reads, itself or in its subgraphs."""
    for tensor in node.inputs:
        if tensor.inputs:
            yield tensor.inputs[0]
    if node.attrs:
        for subgraph in node.subgraphs():
            yield from _read_inside(subgraph)


def _read_inside(subgraph: Graph) -> Iterator[Node]:
    for inner in subgraph.nodes:
        yield from producers(inner)
    for tensor in subgraph.outputs:
        if tensor.inputs:
            yield tensor.inputs[0]
