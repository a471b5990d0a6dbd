"""Dead code: what no output needs."""

from __future__ import annotations

from collections.abc import Callable

from onnxopt.ir.edit import detach, with_inner_nodes
from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.schema import is_optional_output
from onnxopt.ir.tensor import Tensor

_PURE_DOMAINS = {*DEFAULT_DOMAINS, "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}


def sweep(
    graph: Graph,
    *,
    outputs: bool = False,
    inputs: bool = False,
    allow: Callable[[Node], bool] = lambda node: True,
) -> list[Node]:
    """Remove the nodes of every scope that no graph output needs; return them.

    An operator of a domain that is not known here, and is no function of the model, may do more than compute its
    outputs: it stays, and so does what it reads.

    Args:
        graph: A main graph, or one function alone.
        outputs: Also omit outputs that nobody reads, where the last ones of a node.
        inputs: Also drop inputs of the main graph that nobody reads. This changes the interface of the model.
        allow: Asked before each removal.
    """
    scopes = [graph, *graph.subgraphs(recursive=True)] if isinstance(graph, Function) else list(every_graph(graph))
    live = _live_nodes(graph, scopes)
    dead = [node for scope in scopes for node in scope.nodes if node not in live]
    inner = {node for outer in dead for node in with_inner_nodes([outer]) if node is not outer}
    dead = [node for node in dead if node not in inner]
    kept = [node for node in dead if not allow(node)]
    if kept:
        _mark(kept, live)
        dead = [node for node in dead if node not in live]
    gone = set(dead)
    for scope in scopes:
        if not gone.isdisjoint(scope.nodes):
            scope.nodes[:] = [node for node in scope.nodes if node not in gone]
    detach(dead)
    if outputs:
        _omit_unread_outputs(scopes)
    if inputs:
        graph.inputs = [tensor for tensor in graph.inputs if tensor.outputs or tensor in graph.outputs]
    return dead


def _live_nodes(graph: Graph, scopes: list[Graph]) -> set[Node]:
    functions = {(function.domain, function.name) for function in graph.functions}

    def may_do_more(node: Node) -> bool:
        return any(
            inner.domain not in _PURE_DOMAINS and (inner.domain, inner.op) not in functions
            for inner in with_inner_nodes([node])
        )

    live: set[Node] = set()
    _mark([node for scope in scopes for node in scope.nodes if may_do_more(node)], live)
    roots = [graph] if isinstance(graph, Function) else [graph, *graph.functions]
    for root in roots:
        _mark([producer for tensor in root.outputs for producer in tensor.inputs], live)
    return live


def _mark(nodes: list[Node], live: set[Node]) -> None:
    """Add nodes, and all that they need, to `live`."""
    pending = [node for node in nodes if node not in live]
    live.update(pending)
    while pending:
        node = pending.pop()
        tensors: list[Tensor] = list(node.inputs)
        if node.attrs:
            for subgraph in node.subgraphs():
                tensors += subgraph.outputs
        for tensor in tensors:
            for producer in tensor.inputs:
                if producer not in live:
                    live.add(producer)
                    pending.append(producer)


def _omit_unread_outputs(scopes: list[Graph]) -> None:
    given_out = {tensor for scope in scopes for tensor in scope.outputs}
    for scope in scopes:
        for node in scope.nodes:
            while len(node.outputs) > 1 and not node.outputs[-1].outputs and node.outputs[-1] not in given_out:
                if not is_optional_output(node, len(node.outputs) - 1, scope.opset_of(node.domain)):
                    break
                node.outputs.pop()
