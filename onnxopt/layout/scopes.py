"""The scopes of a model that have Transposes."""

from __future__ import annotations

from collections.abc import Iterator

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import DEFAULT_DOMAINS
from onnxopt.ir.proven import ProvenShapes
from onnxopt.layout.attention import attention_transposes
from onnxopt.layout.move import Facts
from onnxopt.layout.transposes import Transposes


def each_scope(
    main: Graph, edit: Edit, shapes: ProvenShapes, *, exact: bool = False, keep_attention: bool = False
) -> Iterator[tuple[Transposes, int]]:
    """The Transposes of each scope that has any, and its opset."""
    if any(function.name == "Transpose" and function.domain in DEFAULT_DOMAINS for function in main.functions):
        return
    facts = Facts(edit, shapes, exact=exact)
    for root in (main, *main.functions):
        for scope in (root, *root.subgraphs(recursive=True)):
            nodes = [node for node in scope.nodes if node.op == "Transpose" and node.is_standard and node.inputs]
            if nodes:
                kept = attention_transposes(scope) if keep_attention else set()
                yield Transposes(edit, scope, facts, nodes, kept), root.opset
