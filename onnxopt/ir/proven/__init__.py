"""Shapes that are certain: they follow from the model's inputs, its constants and the operator specification.

Value infos are not believed: files in the wild declare wrong static shapes, and a rewrite that must keep every bit
cannot rest on them. A runtime refuses inputs that differ from their declaration, so those are certain; and one name of
a dimension stands for one number in all inputs (IR specification). All holds of runs that do not fail.
"""

from __future__ import annotations

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven.demanded import Demand, demanded_rank, possible_ranks
from onnxopt.ir.proven.dim import Atom, Dim, lowest
from onnxopt.ir.proven.facts import Dims
from onnxopt.ir.proven.sweep import ProvenShapes, ProvenShapesNonempty, Shape

__all__ = [
    "Atom",
    "Demand",
    "Dim",
    "Dims",
    "ProvenShapes",
    "ProvenShapesNonempty",
    "Shape",
    "demanded_rank",
    "has",
    "ints",
    "lowest",
    "possible_ranks",
]


def ints(node: Node, index: int, name: str) -> list[int] | None:
    """Integers that older opsets give as attribute `name` and newer ones as input `index`; None where not known."""
    given = node.attr(name)
    if isinstance(given, list):
        return given
    if given is not None or index >= len(node.inputs):
        return None
    value = known_value(node.inputs[index])
    return None if value is None or value.dtype.kind not in "iu" else [int(item) for item in value.reshape(-1)]


def has(node: Node, index: int, name: str) -> bool:
    """Whether such integers are given at all."""
    return name in node.attrs or (index < len(node.inputs) and bool(node.inputs[index].name))
