"""Rules of operators that have bodies: what comes out of them, whichever way the run goes."""

from __future__ import annotations

from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.proven.facts import Dims, Facts, Open


def if_(node: Node, facts: Facts) -> list[Open | None]:
    """If: what both branches agree on."""
    bodies = [node.attrs.get(name) for name in ("then_branch", "else_branch")]
    given = [body.outputs if isinstance(body, Graph) else [] for body in bodies]
    return [_common(facts.dims_of(one), facts.dims_of(other)) for one, other in zip(*given, strict=False)]


def loop(node: Node, facts: Facts) -> list[Open | None]:
    """Loop: of the values that are carried, those that each round leaves as large as they were before the first."""
    body = node.attrs.get("body")
    if not isinstance(body, Graph):
        return []
    carried = zip(node.inputs[2:], body.outputs[1:], strict=False)
    return [_common(facts.dims_of(first), facts.dims_of(next_)) for first, next_ in carried]


def _common(one: Dims | None, other: Dims | None) -> Open | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(dim if dim == there else None for dim, there in zip(one, other, strict=True))
