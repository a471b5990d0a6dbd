"""What differs between the nodes of two scopes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from onnxopt.ir.diff.changes import Change, Kind, NodeDiff
from onnxopt.ir.diff.correspondence import Correspondence, operator
from onnxopt.ir.diff.delta import delta
from onnxopt.ir.diff.facts import attribute_text, declared, entry_changes, field_change, serialized
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.syntax import identifier
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.text import Printer, operator_text


def node_title(node: Node) -> str:
    """Operator and name, or the first output of a node without a name."""
    name = next((f"-> {identifier(tensor.name)}" for tensor in node.outputs if tensor.name), "unnamed")
    return f"{operator_text(node.op, node.domain, node.overload)} {identifier(node.name) if node.name else name}"


def node_diffs(a: Graph, b: Graph, pairs: Correspondence, before: Printer, after: Printer) -> Iterator[NodeDiff]:
    """Nodes gone, new, changed or renamed, in the order of `b`; those gone follow what they followed in `a`."""
    gone: dict[Node | None, list[Node]] = {}
    partners: dict[Node, Node] = {}
    last: Node | None = None
    for node in a.nodes:
        if node in pairs.nodes:
            last = pairs.nodes[node]
            partners[last] = node
        else:
            gone.setdefault(last, []).append(node)
    yield from (_removed(node, before) for node in gone.get(None, ()))
    for node in b.nodes:
        partner = partners.get(node)
        if partner is None:
            yield NodeDiff(Kind.ADDED, node.op, node.name, node_title(node), tuple(after.node(node)))
        else:
            yield from _paired(partner, node, pairs, after)
        yield from (_removed(other, before) for other in gone.get(node, ()))


def _removed(node: Node, printer: Printer) -> NodeDiff:
    return NodeDiff(Kind.REMOVED, node.op, node.name, node_title(node), tuple(printer.node(node)))


def _paired(a: Node, b: Node, pairs: Correspondence, printer: Printer) -> Iterator[NodeDiff]:
    names = [Change("name", identifier(a.name), identifier(b.name))] if a.name != b.name else []
    names += _tensors("output", list(a.outputs), list(b.outputs), lambda one, other: one.name == other.name)
    changes = list(_changes(a, b, pairs))
    if names or changes:
        kind = Kind.CHANGED if changes else Kind.RENAMED
        yield NodeDiff(kind, b.op, b.name, node_title(b), tuple(printer.node(b)), (*names, *changes))


def _changes(a: Node, b: Node, pairs: Correspondence) -> Iterator[Change]:
    if operator(a) != operator(b):
        yield Change("operator", operator_text(a.op, a.domain, a.overload), operator_text(b.op, b.domain, b.overload))
    yield from _tensors("input", list(a.inputs), list(b.inputs), pairs.same)
    if a.attrs or b.attrs:
        yield from _attributes(a, b)
    yield from field_change("doc_string", a.doc_string, b.doc_string)
    if "_metadata_props" in a.__dict__ or "_metadata_props" in b.__dict__:
        yield from entry_changes("metadata_props", a.metadata_props, b.metadata_props)
    if a.shell is not b.shell:
        shells = [[] if node.shell is None else node.shell.device_configurations for node in (a, b)]
        yield from field_change("device_configurations", *(serialized(shell) for shell in shells))


def _tensors(what: str, a: list[Tensor], b: list[Tensor], same: Any) -> Iterator[Change]:
    for index in range(max(len(a), len(b))):
        one, other = (ends[index] if index < len(ends) else None for ends in (a, b))
        if one is None or other is None or not same(one, other):
            before, after = (None if end is None else identifier(end.name) for end in (one, other))
            yield Change(f"{what} {index}", before, after)


def _attributes(a: Node, b: Node) -> Iterator[Change]:
    subgraphs = {name.partition("[")[0] for name, _, _ in paired_subgraphs(a, b)}
    for name in {**a.attrs, **b.attrs}:
        one, other = a.attrs.get(name), b.attrs.get(name)
        if name in subgraphs or _plainly_equal(one, other):
            continue
        before, after = _attribute_text(a, name), _attribute_text(b, name)
        if before != after:
            by = delta(one, other) if isinstance(one, Constant) and isinstance(other, Constant) else None
            yield Change(f"attribute {identifier(name)}", before, after, by)


def _plainly_equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or not isinstance(a, (int, float, str, bytes, list)) or a != b:
        return False
    return not isinstance(a, list) or [type(item) for item in a] == [type(item) for item in b]


def _attribute_text(node: Node, name: str) -> str | None:
    shell = (node.attr_shells or {}).get(name)
    return attribute_text(name, node.attrs[name], shell) if name in node.attrs else None


def paired_subgraphs(a: Node, b: Node) -> Iterator[tuple[str, Graph, Graph]]:
    """The subgraphs that stand in one attribute of both nodes: `body`, or `branches[1]`."""
    for name, one in a.attrs.items():
        other = b.attrs.get(name)
        if isinstance(one, Graph) and isinstance(other, Graph):
            yield name, one, other
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for index, (first, second) in enumerate(zip(one, other, strict=True)):
                if isinstance(first, Graph) and isinstance(second, Graph):
                    yield f"{name}[{index}]", first, second


def value_changes(a: Graph, pairs: Correspondence) -> Iterator[Change]:
    """Intermediate values of another declared type, or with other remarks."""
    outputs = set(a.outputs)
    for node in a.nodes:
        for tensor in node.outputs:
            other = pairs.tensors.get(tensor)
            if other is None or tensor in outputs or _same_plain_type(tensor, other):
                continue
            if declared(tensor) != declared(other):
                yield Change(identifier(other.name), declared(tensor), declared(other))


def _same_plain_type(a: Tensor, b: Tensor) -> bool:
    if isinstance(a, Constant) or isinstance(b, Constant) or a.type not in ("tensor_type", None):
        return False
    has_remarks = a.doc_string or b.doc_string or "_metadata_props" in a.__dict__ or "_metadata_props" in b.__dict__
    return bool(a.type == b.type and a.dtype == b.dtype and a.shape == b.shape and not has_remarks)


def is_reordered(a: Graph, b: Graph, pairs: Correspondence) -> bool:
    """Whether the nodes of both graphs come in another order."""
    place = {node: index for index, node in enumerate(b.nodes)}
    order = [place[partner] for node in a.nodes if (partner := pairs.nodes.get(node)) is not None]
    return any(one > other for one, other in pairwise(order))
