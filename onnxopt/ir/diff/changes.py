"""What differs between two graphs: the parts of a `GraphDiff`, as JSON and as a listing."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from onnxopt.ir.diff.delta import Delta
from onnxopt.ir.syntax import identifier


class Kind(enum.Enum):
    """What happened to a node, a weight or a scope."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"
    """Only names differ: its own, or those of its outputs."""


_MARKS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~", Kind.RENAMED: "~"}


@dataclass(frozen=True)
class Change:
    """One thing, before and after; None where it is not there."""

    what: str
    before: str | None
    after: str | None
    delta: Delta | None = None
    """Of two tensors: by how much they differ."""

    def __str__(self) -> str:
        by = f" ({self.delta})" if self.delta else ""
        return f"{self.what}: {_shown(self.before)} -> {_shown(self.after)}{by}"


def _shown(text: str | None) -> str:
    return "none" if text is None else text


@dataclass(frozen=True)
class NodeDiff:
    """A node that is in one graph only, or in both and not the same."""

    kind: Kind
    op: str
    name: str
    title: str
    """Operator and name, or first output where it has no name; as after, or as before it was removed."""
    text: tuple[str, ...]
    """Its lines in the text form."""
    changes: tuple[Change, ...] = ()

    def lines(self) -> Iterator[str]:
        """The listing: the node itself, or what changed of it."""
        mark = _MARKS[self.kind]
        if not self.changes:
            yield from (f"{mark} {line}" for line in self.text)
        elif len(self.changes) == 1 or self.kind is Kind.RENAMED:
            yield f"{mark} {self.title}: {'; '.join(map(str, self.changes))}"
        else:
            yield f"{mark} {self.title}"
            yield from (f"{mark}     {change}" for change in self.changes)


@dataclass(frozen=True)
class WeightDiff:
    """An initializer, or the default of an input, that is in one graph only, or in both and not the same."""

    kind: Kind
    name: str
    """Its name after, or before it was removed."""
    before: str | None
    """Type and values or digest."""
    after: str | None
    was: str | None = None
    """Its name before, where that was another."""
    delta: Delta | None = None
    """By how much it changed; None where the shapes differ."""

    def lines(self) -> Iterator[str]:
        """The listing: one line."""
        name = "weight " + " -> ".join(identifier(name) for name in (self.was, self.name) if name is not None)
        if self.kind is Kind.CHANGED:
            yield f"~ {Change(name, self.before, self.after, self.delta)}"
        else:
            yield f"{_MARKS[self.kind]} {name}: {self.before or self.after}"


@dataclass(frozen=True)
class ScopeDiff:
    """What differs in the main graph, a subgraph or a function."""

    kind: Kind
    path: tuple[str, ...]
    """() is the main graph; `function domain.name` starts one; then node and attribute for each subgraph."""
    facts: tuple[Change, ...] = ()
    """Inputs, outputs, name, doc string, metadata, and of a function its opsets and attributes."""
    weights: tuple[WeightDiff, ...] = ()
    nodes: tuple[NodeDiff, ...] = ()
    """In the order of the graph."""
    values: tuple[Change, ...] = ()
    """Declared types of intermediate values, and remarks on them."""
    is_reordered: bool = False
    """Nodes that are in both graphs come in another order."""
    text: tuple[str, ...] = ()
    """The lines of a function that was added or removed."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return self == ScopeDiff(Kind.CHANGED, self.path)

    def lines(self) -> Iterator[str]:
        """The listing: a heading, then a line or more for each difference."""
        yield f"@@ {' / '.join(self.path) or 'graph'}"
        yield from (f"{_MARKS[self.kind]} {line}" for line in self.text)
        yield from (f"~ {change}" for change in self.facts)
        for weight in self.weights:
            yield from weight.lines()
        for node in self.nodes:
            yield from node.lines()
        yield from (f"~ value {change}" for change in self.values)
        if self.is_reordered:
            yield "~ nodes come in another order"


@dataclass(frozen=True)
class GraphDiff:
    """What differs between two models."""

    model: tuple[Change, ...] = ()
    """IR version, opset imports, producer, model version, doc string, metadata."""
    scopes: tuple[ScopeDiff, ...] = ()
    """The scopes in which anything differs."""
    is_unexplained: bool = False
    """The fingerprints differ, and nothing of the above says why: a field that this comparison does not know."""

    @property
    def is_empty(self) -> bool:
        """Whether the two have one fingerprint."""
        return not (self.model or self.scopes or self.is_unexplained)

    def to_json(self) -> dict[str, Any]:
        """Everything, as `json.dumps` takes it; numbers that are not finite are strings ("nan", "inf")."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def to_text(self) -> str:
        """A listing; every line starts with `@`, `-`, `+` or `~`. "" where nothing differs."""
        lines = ["@@ model", *(f"~ {change}" for change in self.model)] if self.model else []
        for scope in self.scopes:
            lines += scope.lines()
        if self.is_unexplained:
            lines.append("~ something that this listing does not know: compare the files field by field")
        return "".join(f"{line}\n" for line in lines)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.value if isinstance(value, enum.Enum) else value
