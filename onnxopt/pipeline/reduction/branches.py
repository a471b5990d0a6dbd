"""Putting the branch of an If in its place."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import detach, with_inner_nodes


def taken(node: ir.Node, condition: Any) -> ir.Graph:
    """The branch that an If takes; `then` where its condition is not known."""
    branch: ir.Graph = node.attrs["then_branch" if condition is None or np.all(condition) else "else_branch"]
    return branch


def inline(main: ir.Graph, scope: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    """Replace an If in `scope` by the nodes of one of its branches, under the names that they have if these are free.

    An output of `scope` stays one under its name, behind an Identity.
    """
    other = [graph for graph in node.subgraphs() if graph is not branch]
    place = scope.nodes.index(node)
    results, ends = list(node.outputs), list(branch.outputs)
    inside = list(branch.nodes)
    owned = [tensor for inner in with_inner_nodes(inside) for tensor in inner.outputs if tensor.name]
    owned += [tensor for graph in (branch, *branch.subgraphs(recursive=True)) for tensor in graph.constants]
    del scope.nodes[place]
    node.inputs.clear()
    node.outputs.clear()
    node.attrs = {}
    for graph in other:
        drop(graph)
    with ir.edit(main) as edit:
        for tensor in dict.fromkeys(owned):  # two branches, or graphs side by side, may use the same names
            tensor.name = edit.fresh(tensor.name)
        for number, (old, new) in enumerate(zip(results, ends, strict=True)):
            if not old.name:
                continue
            if old in scope.outputs:
                inside.append(ir.Node("Identity", edit.fresh(f"{node.name or 'If'}_{number}"), {}, [new], [old]))
            else:
                replace(old, new)
    scope.nodes[place:place] = inside


def replace(old: ir.Tensor, new: ir.Tensor) -> None:
    """Let every reader of one tensor read another."""
    for reader in dict.fromkeys(old.outputs):
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader.inputs[index] = new


def drop(graph: ir.Graph) -> None:
    """Cut all nodes of a subgraph that goes away off what they read."""
    detach(list(graph.nodes))
    graph.nodes.clear()
