"""The nodes, values and scopes that two graphs have in common."""

from __future__ import annotations

from typing import Any

from onnxopt.ir.diff.correspondence import Correspondence
from onnxopt.ir.diff.nodes import paired_subgraphs
from onnxopt.ir.diff.weights import weights_of
from onnxopt.ir.graph import Graph
from onnxopt.ir.homes import Homes


def paired(a: Graph, b: Graph) -> dict[Any, Any]:
    """For nodes, tensors and scopes of main graph `a`, those of `b` that stand for them, as `diff` pairs them."""
    pairs = Correspondence()
    homes = Homes(a), Homes(b)
    theirs = {function.unique_id: function for function in b.functions}
    found: dict[Any, Any] = {}
    pending = [(a, b), *((one, theirs[one.unique_id]) for one in a.functions if one.unique_id in theirs)]
    for one, other in pending:
        found[one] = other
        pairs.add_scope(one, other, weights_of(one, homes[0]), weights_of(other, homes[1]))
        for node in one.nodes:
            partner = pairs.nodes.get(node)
            if partner is not None and node.attrs:
                pending += [(mine, their) for _, mine, their in paired_subgraphs(node, partner)]
    return found | pairs.nodes | pairs.tensors
