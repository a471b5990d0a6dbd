"""Putting the branch of an If in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import detach, with_inner_nodes


def taken(node: ir.Node, condition: Any) -> ir.Graph:
    """The branch that an If takes; `then` where its condition is not known."""
    branch: ir.Graph = node.attrs["then_branch" if condition is None or np.all(condition) else "else_branch"]
    return branch


def inline(main: ir.Graph, scope: ir.Graph, choices: Mapping[ir.Node, ir.Graph]) -> None:
    """Replace Ifs in `scope` by the nodes of one of their branches, under the names that they have if these are free.

    An output of `scope` stays one under its name, behind an Identity. All are cut off first, so that neither what goes
    away nor what is moved takes a name; one session then serves them all.
    """
    opened = {node: _Opened.of(node, branch) for node, branch in choices.items()}
    with ir.edit(main) as edit:
        for node, found in opened.items():
            found.settle(edit, scope, node.name or "If")
    scope.nodes[:] = [inner for node in scope.nodes for inner in (opened[node].nodes if node in opened else [node])]


@dataclass
class _Opened:
    """What an If gave and what its branch gives, the If itself being of no use any more."""

    nodes: list[ir.Node]
    owned: list[ir.Tensor]
    """The named values and constants of the branch, and of the graphs in it."""
    results: list[ir.Tensor]
    ends: list[ir.Tensor]

    @classmethod
    def of(cls, node: ir.Node, branch: ir.Graph) -> _Opened:
        """Cut an If and its other branches off what they read."""
        inside = list(branch.nodes)
        owned = [tensor for inner in with_inner_nodes(inside) for tensor in inner.outputs if tensor.name]
        owned += [tensor for graph in (branch, *branch.subgraphs(recursive=True)) for tensor in graph.constants]
        found = cls(inside, owned, list(node.outputs), list(branch.outputs))
        other = [graph for graph in node.subgraphs() if graph is not branch]
        node.inputs.clear()
        node.outputs.clear()
        node.attrs = {}
        for graph in other:
            drop(graph)
        return found

    def settle(self, edit: ir.Edit, scope: ir.Graph, prefix: str) -> None:
        """Name what the branch makes, and let the readers of the If read it."""
        for tensor in dict.fromkeys(self.owned):  # two branches, or graphs side by side, may use the same names
            tensor.name = edit.fresh(tensor.name)
        for number, (old, new) in enumerate(zip(self.results, self.ends, strict=True)):
            if not old.name:
                continue
            if old in scope.outputs:
                self.nodes.append(ir.Node("Identity", edit.fresh(f"{prefix}_{number}"), {}, [new], [old]))
            else:
                replace(old, new)


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
