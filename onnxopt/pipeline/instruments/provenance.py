"""Who made each node, and of what: written into the nodes, so that the saved model and other viewers tell it too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir

FROM = "onnxopt.from"
"""Key of a node's metadata: the nodes of the input model that it was made of, one a line."""
BY = "onnxopt.by"
"""Key of a node's metadata: the rewrites that made or changed it, one a line, as `pass: what`."""
_MOST = 32
"""Ancestors, and rewrites, that one node tells of; a folded subgraph may have thousands."""


_Seen = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of a node's inputs and outputs as they were: removing it empties its lists, and names pass to other tensors."""


@dataclass
class Provenance(Instrument):
    """Writes the ancestors and the rewrites of every node that a pass made or changed into its metadata.

    It compares the graph with what it was before the pass: what a node's outputs were once computed by, back to what
    the node reads now, is what it was made of. So it holds for anybody's pass, and costs a sweep after each that
    changed something. The one instrument that edits: metadata of these two keys, of nodes that were edited anyway.
    """

    _seen: dict[ir.Node, _Seen] = field(default_factory=dict, repr=False)

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Take down the input model."""
        self._seen = _snapshot(graph)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Tell what became of it."""
        if not run.changed:
            return
        before, self._seen = self._seen, _snapshot(graph)
        makers = {name: node for node, (_, outputs) in before.items() for name in outputs if name}
        for node, now in self._seen.items():
            if before.get(node) == now:
                continue
            gone = _ancestors(node, now, before, makers, self._seen)
            _note(node, FROM, [name for one in gone for name in _origin(one, before[one])])
            said = [f"{run.name}: {what}" for one in (node, *gone) for what in ctx.touched.get(one, ())]
            _note(node, BY, [*_entries(node, BY), *(said or [run.name])])


def _snapshot(graph: ir.Graph) -> dict[ir.Node, _Seen]:
    from onnxopt.ir import every_graph

    return {
        node: (tuple([tensor.name for tensor in node.inputs]), tuple([tensor.name for tensor in node.outputs]))
        for scope in every_graph(graph)
        for node in scope.nodes
    }


def _origin(node: ir.Node, seen: _Seen) -> tuple[str, ...]:
    """The nodes of the input model that a node stands for: itself, or what it was made of."""
    own = node.name or next((name for name in seen[1] if name), node.op)
    return _entries(node, FROM) or (own,)


def _ancestors(
    node: ir.Node, now: _Seen, before: dict[ir.Node, _Seen], makers: dict[str, ir.Node], after: dict[ir.Node, _Seen]
) -> list[ir.Node]:
    """The nodes that once computed the outputs of `node` from its inputs, and are there no more; and itself."""
    known = set(now[0])
    pending = [makers[name] for name in now[1] if name in makers]
    pending += [node] if node in before else []
    found: dict[ir.Node, None] = {}
    while pending and len(found) < _MOST:
        one = pending.pop()
        if one in found or (one in after and one is not node):
            continue
        found[one] = None
        pending += [makers[name] for name in before[one][0] if name in makers and name not in known]
    return list(found)


def _entries(node: ir.Node, key: str) -> tuple[str, ...]:
    """The lines of a node's metadata; asking a node that has none for its metadata would give it some."""
    return tuple(node.metadata_props.get(key, "").splitlines()) if "_metadata_props" in node.__dict__ else ()


def _note(node: ir.Node, key: str, entries: list[str]) -> None:
    """Write entries, each once; nothing where all there is to say is the node's own name."""
    distinct = list(dict.fromkeys(entries))[:_MOST]
    if distinct and distinct != [node.name]:
        node.metadata_props[key] = "\n".join(distinct)
