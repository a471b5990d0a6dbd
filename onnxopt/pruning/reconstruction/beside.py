"""A model and the one that it was made of in one graph, both as far as some of their tensors need them."""

from __future__ import annotations

from collections.abc import Iterable

from onnxopt import ir
from onnxopt.ir.sweep import sweep

_PREFIX = "original/"


def beside(graph: ir.Graph, names: Iterable[str], original: ir.Graph, targets: Iterable[str]) -> ir.Graph:
    """A graph that computes tensors of both from the same inputs, and has no outputs; weights are shared.

    Args:
        graph: The model.
        names: Tensors of it.
        original: What it was made of, with inputs of the same names.
        targets: Tensors of that; they are called `target_name(...)` here.
    """
    both, other = _cut(graph, names), _cut(original, targets)
    functions = {function.unique_id for function in other.functions}
    inputs = {tensor: mine for tensor in other.inputs for mine in both.inputs if mine.name == tensor.name}
    for node in ir.every_node(other):
        if (node.domain or "", node.op, node.overload or "") in functions:
            node.op = target_name(node.op)
        node.name = node.name and target_name(node.name)
        for index, tensor in enumerate(node.inputs):
            node.inputs[index] = inputs.get(tensor, tensor)
    for function in other.functions:
        function.name = target_name(function.name)
    tensors = {tensor for node in ir.every_node(other) for tensor in (*node.inputs, *node.outputs) if tensor.name}
    for tensor in tensors.difference(inputs.values()):
        tensor.name = target_name(tensor.name)
    both.nodes.extend(other.nodes)
    both.functions = [*both.functions, *other.functions]
    return both


def target_name(name: str) -> str:
    """What a tensor of the original is called beside the model."""
    return _PREFIX + name


def _cut(graph: ir.Graph, names: Iterable[str]) -> ir.Graph:
    """A copy with nothing but what these tensors need."""
    twin = graph.copy()
    wanted = set(names)
    twin.outputs = [tensor for node in twin.nodes for tensor in node.outputs if tensor.name in wanted]
    sweep(twin)
    twin.outputs = []
    return twin
