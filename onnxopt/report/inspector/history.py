"""What became of every node from pass to pass: each version of it once, and from which step on it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from onnxopt import ir
from onnxopt.ir.digest import digest
from onnxopt.pipeline.instruments.provenance import BY, FROM
from onnxopt.report.inspector.attributes import attribute_texts
from onnxopt.report.inspector.weights import weight_facts

GONE = -1
"""The version of a node that is there no more."""


@dataclass
class History:
    """The graphs of a run, one after the other, as the differences between them.

    A node, value or scope has one number for as long as it is one object; `continue_as` tells which objects of another
    graph are meant to be the same. No graph is kept alive.
    """

    scopes: list[dict[str, Any]] = field(default_factory=list)
    """Name, kind, and of a subgraph the node and attribute that it is in."""
    values: list[dict[str, Any]] = field(default_factory=list)
    """Versions of values: id, name, dtype, shape, weight."""
    weights: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    """Versions of nodes; inputs and outputs are numbers of `values`."""
    nodes: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By node: from which step on which version holds."""
    _ids: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)
    _next: int = 0
    _interned: dict[Any, int] = field(default_factory=dict)
    _alive: dict[int, int] = field(default_factory=dict)
    """The nodes of the graph seen last: their versions."""
    _weights: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)
    """By the values that a file holds, which never change."""

    def observe(self, graph: ir.Graph, step: int, macs: Mapping[ir.Node, int]) -> dict[str, Any]:
        """Take down the graph after a step.

        Args:
            graph: A main graph, its nodes in order.
            step: Its number; it grows from call to call.
            macs: Multiply-accumulates by node.

        Returns:
            The nodes that were added, removed and changed by it, and what each scope reads and gives.
        """
        now: dict[int, int] = {}
        interfaces = []
        for scope, place in self._scopes(graph):
            interfaces.append(
                {
                    "scope": place,
                    "inputs": [self._value(tensor) for tensor in scope.inputs],
                    "outputs": [self._value(tensor) for tensor in scope.outputs],
                }
            )
            for node in scope.nodes:
                now[self._id(node)] = self._version(node, place, macs.get(node, 0))
        added = [number for number in now if number not in self._alive]
        removed = [number for number in self._alive if number not in now]
        changed = [number for number, version in now.items() if self._alive.get(number, version) != version]
        for number in (*added, *changed):
            self.nodes.setdefault(number, []).append((step, now[number]))
        for number in removed:
            self.nodes[number].append((step, GONE))
        self._alive = now
        return {"added": added, "removed": removed, "changed": changed, "interfaces": interfaces}

    def continue_as(self, pairs: Mapping[Any, Any]) -> None:
        """Nodes, values and graphs of the graph seen last, and those of the next one that stand for them."""
        for earlier, later in pairs.items():
            if earlier in self._ids and later not in self._ids:
                self._ids[later] = self._ids[earlier]

    def number(self, node: ir.Node) -> int | None:
        """The number of a node; None for one that was never seen."""
        return self._ids.get(node)

    def to_json(self) -> dict[str, Any]:
        """Everything that was taken down."""
        return {
            "scopes": self.scopes,
            "values": self.values,
            "weights": self.weights,
            "versions": self.versions,
            "nodes": [{"id": node, "versions": found} for node, found in self.nodes.items()],
        }

    def _scopes(self, graph: ir.Graph) -> Iterator[tuple[ir.Graph, int]]:
        """Every scope with its number, outer ones first."""
        pending: list[tuple[ir.Graph, dict[str, Any]]] = [(graph, {"name": graph.name, "kind": "graph"})]
        for function in graph.functions:
            name = f"{function.domain}.{function.name}" if function.domain else function.name
            pending.append((function, {"name": name, "kind": "function"}))
        for scope, about in pending:
            yield scope, self._scope(scope, about)
            for node in scope.nodes:
                for attribute, body in _bodies(node) if node.attrs else ():
                    inside = {"name": body.name, "kind": "subgraph", "node": self._id(node), "attribute": attribute}
                    pending.append((body, inside))

    def _scope(self, scope: ir.Graph, about: dict[str, Any]) -> int:
        return self._intern(("scope", self._id(scope)), self.scopes, about)

    def _id(self, thing: Any) -> int:
        found = self._ids.get(thing)
        if found is None:
            found = self._ids[thing] = self._next
            self._next += 1
        return found

    def _intern(self, key: Any, where: list[dict[str, Any]], what: dict[str, Any]) -> int:
        found = self._interned.get(key)
        if found is None:
            found = self._interned[key] = len(where)
            where.append(what)
        return found

    def _value(self, tensor: ir.Tensor) -> int:
        if not tensor.name:
            return -1
        weight = self._weight(tensor) if isinstance(tensor, ir.Constant) else None
        dtype = None if tensor.dtype is None else str(tensor.dtype)
        shape = None if tensor.shape is None else tuple(tensor.shape)
        key = ("value", self._id(tensor), tensor.name, dtype, shape, weight)
        found = self._interned.get(key)
        if found is not None:
            return found
        about = {"id": key[1], "name": tensor.name, "dtype": dtype, "shape": None if shape is None else list(shape)}
        return self._intern(key, self.values, about if weight is None else about | {"weight": weight})

    def _weight(self, constant: ir.Constant) -> int:
        """By content where a pass may have written into it, by what holds it where it lies in a file."""
        if constant.is_new:
            key = ("weight", digest(constant))
            found = self._interned.get(key)
            return self._intern(key, self.weights, weight_facts(constant)) if found is None else found
        held = constant._values
        if held not in self._weights:
            self._weights[held] = len(self.weights)
            self.weights.append(weight_facts(constant))
        return self._weights[held]

    def _version(self, node: ir.Node, scope: int, macs: int) -> int:
        metadata = node.metadata_props if "_metadata_props" in node.__dict__ else {}
        inputs, outputs = tuple(map(self._value, node.inputs)), tuple(map(self._value, node.outputs))
        attributes = attribute_texts(node) if node.attrs else ()
        captured = tuple(self._value(tensor) for tensor in _captured(node)) if node.attrs else ()
        more = tuple(metadata.items())
        domain = "" if node.is_standard else str(node.domain)
        key = ("node", node.op, domain, node.name, scope, inputs, outputs, captured, attributes, more, macs)
        found = self._interned.get(key)
        if found is not None:
            return found
        facts = {
            "op": node.op,
            "name": node.name,
            "scope": scope,
            "inputs": inputs,
            "outputs": outputs,
            "captured": captured,
            "attributes": attributes,
            "macs": macs,
            "by": metadata.get(BY, "").splitlines(),
            "from": metadata.get(FROM, "").splitlines(),
            "metadata": {name: text for name, text in more if name not in (BY, FROM)},
        }
        if domain:
            facts["domain"] = domain
        if node.doc_string:
            facts["doc"] = node.doc_string
        return self._intern(
            key, self.versions, {name: fact for name, fact in facts.items() if fact not in ((), [], {})}
        )


def _captured(node: ir.Node) -> list[ir.Tensor]:
    """The outer values, but for weights, that the bodies of a node read."""
    bodies = list(node.subgraphs(recursive=True))
    inside = {tensor for body in bodies for tensor in body.inputs}
    inside |= {tensor for body in bodies for inner in body.nodes for tensor in inner.outputs}
    read = [tensor for body in bodies for inner in body.nodes for tensor in inner.inputs]
    read += [tensor for body in bodies for tensor in body.outputs]
    outer = (tensor for tensor in read if tensor.name and tensor not in inside and not isinstance(tensor, ir.Constant))
    return list(dict.fromkeys(outer))


def _bodies(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    for attribute, value in node.attrs.items():
        for body in value if isinstance(value, list) else (value,):
            if isinstance(body, ir.Graph):
                yield attribute, body
