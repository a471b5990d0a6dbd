"""Every graph of a ModelProto: the main one, the bodies of functions, and what If, Loop and Scan hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

Scope = GraphProto | FunctionProto


def every_scope(model: ModelProto) -> Iterator[Scope]:
    """The main graph, the functions and all the subgraphs in either, outer before inner."""
    waiting: list[Scope] = [*reversed(model.functions), model.graph]
    while waiting:
        scope = waiting.pop()
        yield scope
        for node in scope.node:
            waiting += subgraphs(node)


def subgraphs(node: NodeProto) -> Iterable[GraphProto]:
    """The graphs that a node holds as attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs
