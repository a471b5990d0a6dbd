"""Constant nodes become initializers, where a graph can have them."""

from __future__ import annotations

from collections.abc import Callable

from onnxopt.folding.candidates import constant_of, free_initializers, takes_initializers
from onnxopt.ir.edit import Edit, edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor, Variable
from onnxopt.ir.values import Array, Values


def make_initializers(graph: Graph, allow: Callable[[Node], bool], refuse: Callable[[str, Node], None]) -> bool:
    """Turn the outputs of Constant nodes into initializers, wherever nodes read them and no graph gives them out.

    Args:
        graph: A main graph; edited in place, its subgraphs too. A local function has no initializers.
        allow: Asked before each.
        refuse: Told why one stays.

    Returns:
        Whether anything changed.
    """
    with edit(graph) as session:
        for scope in (graph, *graph.subgraphs(recursive=True)):
            if not takes_initializers(scope, graph):
                continue
            for node in scope.nodes:
                tensor = node.outputs[0] if node.is_op("Constant") else None
                if tensor is None or not tensor.outputs or session.is_output(tensor):
                    continue
                value = constant_of(node)
                if value is None:
                    refuse("a sparse value stays a Constant node", node)
                elif allow(node):
                    detach(tensor, session)
                    to_initializer(tensor, value._values, graph)
                    session.remove(node)
    return session.changed


def to_initializer(tensor: Variable, value: Array | Values, main: Graph) -> None:
    """Let a tensor without a producer be an initializer of this value."""
    constant = tensor.to_constant(value)
    if not free_initializers(main):  # it belongs to the main graph, though only a body may read it
        main.constants.append(constant)
        main.listed.setdefault(constant.name)


def detach(tensor: Tensor, session: Edit) -> None:
    """Take a tensor off its producer; a declaration that may be stale goes, unless it is the interface."""
    producer = tensor.producer
    assert producer is not None
    producer.outputs[[output is tensor for output in producer.outputs].index(True)] = Variable.empty()
    if not session.is_output(tensor):
        tensor.info = None
