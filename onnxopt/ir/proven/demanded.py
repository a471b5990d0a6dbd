"""Ranks that values must have in every run that does not fail, because a node that reads them takes no other.

The other direction of `ProvenShapes`: an LSTM takes sequences of rank 3, so what an Unsqueeze of one axis makes of a
value for it had rank 2 (operator specification, sections LSTM and Unsqueeze).
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven.sweep import ProvenShapes
from onnxopt.ir.tensor import Tensor

_RECURRENT = {0: 3, 1: 3, 2: 3, 3: 2, 4: 1, 5: 3, 6: 3, 7: 2}
"""X, W, R, B, sequence_lens, initial_h, initial_c, P."""
_SAME = (
    "Abs", "Cast", "Clip", "Elu", "Erf", "Exp", "Identity", "LeakyRelu", "Log", "Neg", "Not", "Relu", "Sigmoid",
    "Softmax", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
_MOST = 8
"""Nodes that are followed from a value, one after the other."""


class Demand(NamedTuple):
    """A rank, and the node that takes no other."""

    rank: int
    by: Node


def demanded_rank(tensor: Tensor, nodes: Container[Node], shapes: ProvenShapes, depth: int = _MOST) -> Demand | None:
    """The rank that one of the readers of a tensor demands, be it of what other nodes make of it.

    Args:
        tensor: What `nodes` make, or what they are given.
        nodes: Nodes of one graph; of the readers, these alone are believed to run whenever the tensor is there.
        shapes: Of the model.
        depth: How many nodes to follow.
    """
    for reader in tensor.outputs if depth else ():
        if reader not in nodes or not reader.is_standard:
            continue
        for index, given in enumerate(reader.inputs):
            if given is not tensor:
                continue
            rank = _taken(reader, index, shapes)
            if rank is not None:
                return Demand(rank, reader)
            added = _added(reader) if index == 0 else None
            further = None if added is None else demanded_rank(reader.outputs[0], nodes, shapes, depth - 1)
            if added is not None and further is not None:
                return Demand(further.rank - added, further.by)
    return None


def possible_ranks(tensor: Tensor, shapes: ProvenShapes, depth: int = _MOST) -> frozenset[int] | None:
    """The ranks that a tensor can have: behind an If, those of both branches. None where nothing is certain."""
    dims = shapes.dims(tensor)
    if dims is not None:
        return frozenset({len(dims)})
    node = tensor.producer
    if node is None or not depth or not node.is_standard:
        return None
    if node.op == "If":
        return _of_branches(node, node.outputs.index(tensor), shapes, depth - 1)
    added = _added(node) if tensor is node.outputs[0] else None
    given = None if added is None else possible_ranks(node.inputs[0], shapes, depth - 1)
    return None if given is None or added is None else frozenset(rank + added for rank in given)


def _of_branches(node: Node, index: int, shapes: ProvenShapes, depth: int) -> frozenset[int] | None:
    found: frozenset[int] = frozenset()
    for name in ("then_branch", "else_branch"):
        branch = node.attrs.get(name)
        if not isinstance(branch, Graph) or index >= len(branch.outputs):
            return None
        ranks = possible_ranks(branch.outputs[index], shapes, depth)
        if ranks is None:
            return None
        found |= ranks
    return found


def _taken(node: Node, index: int, shapes: ProvenShapes) -> int | None:
    """The only rank that a node takes as its input `index`."""
    if node.op in ("GRU", "LSTM", "RNN"):
        return _RECURRENT.get(index)
    if node.op in ("Conv", "ConvTranspose") and index == 0 and len(node.inputs) > 1:
        weight = shapes.dims(node.inputs[1])
        return None if weight is None else len(weight)
    if node.op == "Transpose":
        perm = node.attrs.get("perm")
        return len(perm) if isinstance(perm, list) else None
    return None


def _added(node: Node) -> int | None:
    """How many axes the first output has more than the first input; None where that is not certain."""
    if node.op in _SAME:
        return 0
    if node.op not in ("Unsqueeze", "Squeeze") or (node.op == "Squeeze" and not _has_axes(node)):
        return None
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1:
        value = known_value(node.inputs[1])
        axes = None if value is None else value.reshape(-1).tolist()
    if not isinstance(axes, list) or len(set(axes)) < len(axes) or {axis < 0 for axis in axes} == {True, False}:
        return None  # axes may name one twice, once from the front and once from the back
    return len(axes) if node.op == "Unsqueeze" else -len(axes)


def _has_axes(node: Node) -> bool:
    return "axes" in node.attrs or (len(node.inputs) > 1 and bool(node.inputs[1].name))
