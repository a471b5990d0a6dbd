"""Dead code: what no output needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from onnxopt.ir.edit import detach, with_inner_nodes
from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.node import Node
from onnxopt.ir.purity import Purity
from onnxopt.ir.schema import is_optional_output
from onnxopt.ir.sort import producers
from onnxopt.ir.tensor import Tensor

T = TypeVar("T", bound=Hashable)
_OUTPUTS_CHOOSE_MODE_BELOW = 14
"""Before BatchNormalization-14, one with more outputs than the first trains."""


def sweep(
    graph: Graph,
    *,
    outputs: bool = False,
    inputs: bool = False,
    allow: Callable[[Node], bool] = lambda node: True,
) -> list[Node]:
    """Remove the nodes of every scope that no graph output needs; return them, readers before what they read.

    An operator of a domain that is not known here, and is no function of the model, may do more than compute its
    outputs: it stays, and so does what it reads.

    Args:
        graph: A main graph, or one function alone.
        outputs: Also omit outputs that nobody reads, where the last ones of a node.
        inputs: Also drop inputs of the main graph that nobody reads. This changes the interface of the model.
        allow: Asked before each removal; what a node that has to stay reads is not asked about.
    """
    scopes = _scopes(graph)
    live = _live_nodes(graph, scopes)
    dead = [node for scope in scopes for node in scope.nodes if node not in live]
    inner = {node for outer in dead for node in with_inner_nodes([outer]) if node is not outer}
    dead = readers_first([node for node in dead if node not in inner], producers, allow)
    gone = set(dead)
    for scope in scopes:
        if not gone.isdisjoint(scope.nodes):
            scope.nodes[:] = [node for node in scope.nodes if node not in gone]
    detach(dead)
    if outputs:
        omit_outputs(graph)
    if inputs:
        given_out = set(graph.outputs)
        graph.inputs = [tensor for tensor in graph.inputs if tensor.outputs or tensor in given_out]
    return dead


def omit_outputs(graph: Graph, allow: Callable[[Node, Tensor], bool] = lambda node, output: True) -> list[Tensor]:
    """Leave out the optional outputs that nobody reads, where the last ones of a node; return them.

    Args:
        graph: A main graph, or one function alone.
        allow: Asked before each is left out.
    """
    scopes = _scopes(graph)
    given_out = {tensor for scope in scopes for tensor in scope.outputs}
    omitted: list[Tensor] = []
    for scope in scopes:
        for node in scope.nodes:
            while len(node.outputs) > 1:
                index = max((index for index, output in enumerate(node.outputs) if output.name), default=0)
                if not _may_be_omitted(node, index, scope, given_out) or not allow(node, node.outputs[index]):
                    break
                omitted.append(node.outputs[index])
                while len(node.outputs) > 1 and (len(node.outputs) > index or not node.outputs[-1].name):
                    node.outputs.pop()
    return omitted


def drop_functions(graph: Graph, allow: Callable[[Function], bool] = lambda function: True) -> list[Function]:
    """Remove the local functions that no node of the main graph calls, directly or through others; return them."""
    find = Purity(graph).called

    def called(nodes: Iterable[Node]) -> Iterator[Function]:
        return (function for node in with_inner_nodes(nodes) if (function := find(node)) is not None)

    live = dict.fromkeys(called(graph.nodes))
    pending = list(live)
    while pending:
        for function in called(pending.pop().nodes):
            if function not in live:
                live[function] = None
                pending.append(function)
    dead = [function for function in graph.functions if function not in live]
    dead = readers_first(dead, lambda function: called(function.nodes), allow)
    gone = set(dead)
    detach(node for function in dead for node in function.nodes)
    graph.functions = [function for function in graph.functions if function not in gone]
    return dead


def readers_first(dead: list[T], needs: Callable[[T], Iterable[T]], allow: Callable[[T], bool]) -> list[T]:
    """Those of `dead` that may go. Each is asked about once all that need it may go; else it stays unasked."""
    waits = dict.fromkeys(dead, 0)
    for item in dead:
        for needed in needs(item):
            if needed in waits:
                waits[needed] += 1
    ready = deque(item for item in reversed(dead) if waits[item] == 0)
    gone = []
    while ready:
        item = ready.popleft()
        if not allow(item):
            continue
        gone.append(item)
        for needed in needs(item):
            if needed in waits:
                waits[needed] -= 1
                if waits[needed] == 0:
                    ready.append(needed)
    return gone


def _scopes(graph: Graph) -> list[Graph]:
    return [graph, *graph.subgraphs(recursive=True)] if isinstance(graph, Function) else list(every_graph(graph))


def _live_nodes(graph: Graph, scopes: list[Graph]) -> set[Node]:
    purity = Purity(graph)
    live: set[Node] = set()
    _mark([node for scope in scopes for node in scope.nodes if not purity.is_pure(node)], live)
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


def _may_be_omitted(node: Node, index: int, scope: Graph, given_out: set[Tensor]) -> bool:
    output = node.outputs[index]
    if index == 0 or output.outputs or output in given_out:
        return False
    if node.is_op("BatchNormalization") and (scope.opset < _OUTPUTS_CHOOSE_MODE_BELOW or node.attr("training_mode")):
        return False
    return is_optional_output(node, index, scope.opset_of(node.domain))
