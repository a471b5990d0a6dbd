"""In which order a model is made smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from onnxopt import ir
from onnxopt.pipeline.reduction.cuts import Bypass, Change, Dropped, Hidden, Inlined, Stubbed, Tidied, Without
from onnxopt.pipeline.reduction.shrinking import shrink

Takes = Callable[[Change], bool]
"""Tries a change, and makes it where the failure stays the same."""


def count(graph: ir.Graph) -> int:
    """The nodes of all scopes."""
    return sum(len(scope.nodes) for scope in ir.every_graph(graph))


def cut(graph: ir.Graph, takes: Takes) -> None:
    """Make a model smaller until a whole round leaves out no node.

    The main graph comes first, since leaving out one of its nodes leaves out all that is in it. What lost its producer
    is tried as an input and as a constant, for a pass may look for either.
    """
    nodes = -1
    while nodes != (nodes := count(graph)):
        _shrink(graph.nodes, lambda some: Without(graph, some), takes)
        _shrink(graph.nodes, lambda some: Without(graph, some, as_constants=True), takes)
        _shrink(graph.nodes, lambda some: Bypass(graph, some), takes)
        shrink(list(graph.outputs), lambda some: takes(Hidden(some)))
        _open_branches(graph, takes)
        for scope in list(graph.subgraphs(recursive=True)):
            _cut_body(scope, takes)
        takes(Tidied())
        _cut_functions(graph, takes)


def _open_branches(graph: ir.Graph, takes: Takes) -> None:
    """Put a branch in the place of its If; where the failure needs the If, empty the branches that it does not need."""
    for scope, node in list(_choices(graph)):
        if node not in scope.nodes or not node.attrs:  # it went with one around it
            continue
        branches = [name for name, value in node.attrs.items() if isinstance(value, ir.Graph)]
        if not any(takes(Inlined(scope, node, name)) for name in branches):
            for name in branches:
                takes(Stubbed(node, name))


def _cut_body(scope: ir.Graph, takes: Takes) -> None:
    _shrink(scope.nodes, lambda some: Without(scope, some, redirects=True), takes)
    inner = [node for node in scope.nodes if not _stands_for_an_output(node)]
    _shrink(inner, lambda some: Without(scope, some), takes)
    _shrink(scope.nodes, lambda some: Bypass(scope, some), takes)


def _stands_for_an_output(node: ir.Node) -> bool:
    """Whether it is what a cut puts where an output of a subgraph was made: cut again, it would only come again."""
    return node.is_op("Identity") and not node.inputs[0].inputs


def _cut_functions(graph: ir.Graph, takes: Takes) -> None:
    shrink(list(graph.functions), lambda some: takes(Dropped(some)))
    for function in list(graph.functions):
        for scope in (function, *function.subgraphs(recursive=True)):
            _shrink(scope.nodes, partial(Bypass, scope), takes)


def _shrink(nodes: Sequence[ir.Node], change: Callable[[Sequence[ir.Node]], Change], takes: Takes) -> None:
    shrink(list(nodes), lambda some: takes(change(some)))


def _choices(graph: ir.Graph) -> Iterator[tuple[ir.Graph, ir.Node]]:
    """Every If of the main graph and its subgraphs, with the graph that holds it; outer ones first."""
    for scope in (graph, *graph.subgraphs(recursive=True)):
        for node in scope.nodes:
            if node.is_op("If"):
                yield scope, node
