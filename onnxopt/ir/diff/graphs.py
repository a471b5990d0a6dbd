"""The comparison of two models, scope by scope."""

from __future__ import annotations

from collections.abc import Iterator

from onnxopt.ir.diff.changes import GraphDiff, Kind, ScopeDiff
from onnxopt.ir.diff.correspondence import Correspondence
from onnxopt.ir.diff.facts import model_changes, scope_changes
from onnxopt.ir.diff.nodes import is_reordered, node_diffs, node_title, paired_subgraphs, value_changes
from onnxopt.ir.diff.weights import weight_diffs, weights_of
from onnxopt.ir.fingerprint import fingerprint
from onnxopt.ir.graph import Graph
from onnxopt.ir.text import Printer, operator_text


def diff(a: Graph, b: Graph) -> GraphDiff:
    """What has to be done to main graph `a` to make it `b`; empty if and only if they have one fingerprint.

    Nodes are paired by name, then by outputs, then by doing the same to the same values (from the inputs down and from
    the outputs up), so that a renamed graph shows as renamed. A node's input counts as changed where neither its name
    nor the pairing says that it is the same value. Weights are compared by content, in pieces; stored weights that
    both graphs share are not read. Linear in the size of the graphs.

    Raises:
        BadModel: An attribute has no type that ONNX knows, or a file of weights has become shorter.
    """
    found = GraphDiff(tuple(model_changes(a, b)), tuple(_Comparison(a, b).scopes()))
    if found.is_empty and fingerprint(a) != fingerprint(b):
        return GraphDiff(is_unexplained=True)
    return found


class _Comparison:
    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = a, b
        self.before, self.after = Printer(a), Printer(b)
        self.pairs = Correspondence()

    def scopes(self) -> Iterator[ScopeDiff]:
        yield from self.scope(self.a, self.b, ())
        mine = {function.unique_id: function for function in self.a.functions}
        theirs = {function.unique_id: function for function in self.b.functions}
        for domain, name, overload in {**mine, **theirs}:
            one, other = mine.get((domain, name, overload)), theirs.get((domain, name, overload))
            path = (f"function {operator_text(name, domain, overload)}",)
            if one is None and other is not None:
                yield ScopeDiff(Kind.ADDED, path, text=tuple(self.after.function(other)))
            elif one is not None and other is None:
                yield ScopeDiff(Kind.REMOVED, path, text=tuple(self.before.function(one)))
            elif one is not None and other is not None:
                yield from self.scope(one, other, path)

    def scope(self, a: Graph, b: Graph, path: tuple[str, ...]) -> Iterator[ScopeDiff]:
        weights_a, weights_b = weights_of(a, self.before.homes), weights_of(b, self.after.homes)
        self.pairs.add_scope(a, b, weights_a, weights_b)
        found = ScopeDiff(
            Kind.CHANGED,
            path,
            facts=tuple(scope_changes(a, b)),
            weights=tuple(weight_diffs(weights_a, weights_b, self.pairs)),
            nodes=tuple(node_diffs(a, b, self.pairs, self.before, self.after)),
            values=tuple(value_changes(a, self.pairs)),
            is_reordered=is_reordered(a, b, self.pairs),
        )
        if not found.is_empty:
            yield found
        for node in a.nodes:
            partner = self.pairs.nodes.get(node)
            if partner is not None and node.attrs:
                for name, one, other in paired_subgraphs(node, partner):
                    yield from self.scope(one, other, (*path, node_title(partner), name))
