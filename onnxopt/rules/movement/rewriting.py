"""What the passes about data movement share: where they look, and how a node becomes another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.folding.candidates import takes_initializers
from onnxopt.ir.known import known_value
from onnxopt.ir.purity import Purity
from onnxopt.ir.schema import find_schema

NO_INITIALIZERS = "before IR version 4 a subgraph has no initializers, and its new spelling needs one"


def nodes_of(graph: ir.Graph, ops: frozenset[str], purity: Purity) -> Iterator[tuple[ir.Node, int]]:
    """The nodes of these standard operators that have what the checker asks for, in every scope, and their opset."""
    for root in (graph, *graph.functions):
        for scope in (root, *root.subgraphs(recursive=True)):
            for node in scope.nodes:
                if node.op in ops and is_whole(node, root.opset, purity):
                    yield node, root.opset


def is_whole(node: ir.Node, opset: int, purity: Purity) -> bool:
    """Whether a node is one of the standard operator of its name, and has what the checker asks for."""
    if not node.is_standard or purity.called(node) is not None:
        return False
    schema = find_schema(node.op, None, opset)
    return schema is not None and len(node.inputs) >= schema.min_input and bool(node.outputs)


def respell(edit: ir.Edit, node: ir.Node, op: str, inputs: Sequence[ir.Tensor], attrs: dict[str, Any]) -> None:
    """Let a node be another operator; its name, outputs and metadata stay."""
    for index, tensor in enumerate(inputs):
        if index < len(node.inputs):
            edit.replace_input(node, index, tensor)
        else:
            node.inputs.append(tensor)
    while len(node.inputs) > len(inputs):
        edit.replace_input(node, len(node.inputs) - 1, ir.Variable.empty())
        node.inputs.pop()
    node.op, node.attrs, node.attr_shells = op, attrs, None
    edit.changed = True


def int64s(edit: ir.Edit, node: ir.Node, role: str, values: Sequence[int]) -> ir.Constant:
    """A new int64 vector, named after the node that will read it."""
    return ir.Constant(edit.fresh(f"{node.name or node.outputs[0].name}_{role}"), np.array(values, np.int64))


def same_int64s(
    edit: ir.Edit, node: ir.Node, role: str, values: Sequence[int], known: Sequence[ir.Tensor]
) -> ir.Tensor:
    """One of the tensors `known` that holds this int64 vector, or a new one."""
    for tensor in known:
        value = known_value(tensor, limit=len(values))
        if value is not None and value.dtype == np.int64 and value.ndim == 1 and value.tolist() == list(values):
            return tensor
    return int64s(edit, node, role, values)


def may_have_constants(edit: ir.Edit, node: ir.Node) -> bool:
    """Whether the graph that holds a node can have new initializers; `NO_INITIALIZERS` says why not."""
    scope = edit.scope_of(node)
    return scope is not None and takes_initializers(scope, edit.main)


def remove_unread(edit: ir.Edit, node: ir.Node) -> bool:
    """Remove a node if nothing reads it any more; return whether it went."""
    if edit.was_removed(node) or any(tensor.name and edit.is_used(tensor) for tensor in node.outputs):
        return False
    edit.remove(node)
    return True
