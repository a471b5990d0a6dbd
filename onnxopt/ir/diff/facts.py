"""What differs between two models apart from nodes and weights: interface, versions, names, metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onnx import AttributeProto

from onnxopt.ir.diff.changes import Change
from onnxopt.ir.digest import of_text
from onnxopt.ir.exporter import opset_imports
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.operands import attribute, remarks, type_of
from onnxopt.ir.syntax import identifier, quoted
from onnxopt.ir.tensor import Tensor


def model_changes(a: Graph, b: Graph) -> Iterator[Change]:
    """IR version, opset imports, producer, domain, versions, doc string, metadata, training info."""
    yield from field_change("ir_version", a.ir_version, b.ir_version)
    yield from entry_changes("opset", _opsets(a), _opsets(b))
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        yield from field_change(name, getattr(a.model, name), getattr(b.model, name))
    props = ({entry.key: entry.value for entry in graph.model.metadata_props} for graph in (a, b))
    yield from entry_changes("metadata_props", *props)
    yield from field_change("training_info", *(serialized(graph.model.training_info) for graph in (a, b)))


def scope_changes(a: Graph, b: Graph) -> Iterator[Change]:
    """Inputs, outputs, name, doc string, metadata; of a function its opsets and attributes."""
    yield from _interface("input", a.inputs, b.inputs)
    yield from _interface("output", a.outputs, b.outputs)
    yield from field_change("name", a.name, b.name)
    yield from field_change("doc_string", a.doc_string, b.doc_string)
    yield from entry_changes("metadata_props", a.metadata_props, b.metadata_props)
    for what in ("quantization_annotation", "stray_infos"):
        yield from field_change(what, serialized(getattr(a, what)), serialized(getattr(b, what)))
    if isinstance(a, Function) and isinstance(b, Function):
        yield from entry_changes("opset", _opsets(a), _opsets(b))
        mine, theirs = _defaults(a), _defaults(b)
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name):
                yield Change(f"attribute {identifier(name)}", mine.get(name), theirs.get(name))


def field_change(what: str, before: Any, after: Any) -> Iterator[Change]:
    """One field; an empty one is none."""
    if (before or None) != (after or None):
        yield Change(what, _shown(before or None), _shown(after or None))


def entry_changes(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """The entries of a mapping, in their order."""
    if before != after:
        for key in {**before, **after}:
            if before.get(key) != after.get(key):
                yield Change(f"{what} {quoted(key)}", _shown(before.get(key)), _shown(after.get(key)))


def _shown(value: Any) -> str | None:
    return None if value is None else quoted(value) if isinstance(value, str) else str(value)


def serialized(messages: Iterable[Any]) -> str | None:
    """Messages that are compared as a whole, in no order: their number and a digest."""
    found = sorted(message.SerializeToString(deterministic=True) for message in messages)
    return f"{len(found)} entries, {of_text(b''.join(found))}" if found else None


def declared(tensor: Tensor) -> str:
    """Type of a value, and the remarks on it."""
    return "; ".join([type_of(tensor) or "of no type", *remarks(tensor)])


def attribute_text(name: str, value: Any, shell: AttributeProto | None) -> str:
    """The value of an attribute, `[0, 1]`, or with its type where that has to be said, `ints = []`."""
    notes: list[str] = []
    text = attribute(name, value, shell, notes)
    return "; ".join([text[len(identifier(name)) :].removeprefix(" = ").removeprefix(": "), *notes])


def _opsets(graph: Graph) -> dict[str, int]:
    return {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in opset_imports(graph)}


def _defaults(function: Function) -> dict[str, str]:
    shells = function.attr_shells or {}
    return {
        name: "without default" if value is None else attribute_text(name, value, shells.get(name))
        for name, value in function.attrs.items()
    }


def _interface(what: str, a: list[Tensor], b: list[Tensor]) -> Iterator[Change]:
    """Inputs or outputs: gone, new, renamed in place, of another type, in another order."""
    mine, theirs = {tensor.name: tensor for tensor in a}, {tensor.name: tensor for tensor in b}
    renamed = {
        one.name: other.name
        for one, other in zip(a, b, strict=False)
        if one.name not in theirs and other.name not in mine
    }
    for tensor in a:
        other = theirs.get(renamed.get(tensor.name, tensor.name))
        if tensor.name in renamed and other is not None:
            one, new = (f"{identifier(end.name)}: {declared(end)}" for end in (tensor, other))
            yield Change(f"{what} renamed", one, new)
        elif other is None or declared(tensor) != declared(other):
            yield Change(f"{what} {identifier(tensor.name)}", declared(tensor), other and declared(other))
    for tensor in b:
        if tensor.name not in mine and tensor.name not in renamed.values():
            yield Change(f"{what} {identifier(tensor.name)}", None, declared(tensor))
    before, after = ([name for name in names if name in mine and name in theirs] for names in (mine, theirs))
    if before != after:
        yield Change(f"order of the {what}s", ", ".join(map(identifier, before)), ", ".join(map(identifier, after)))
