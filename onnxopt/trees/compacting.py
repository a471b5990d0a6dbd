"""Finds the ensembles of a model, and rewrites each in the operator that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.ir.element_types import element_types
from onnxopt.pipeline.base import Context
from onnxopt.trees.attributes import stored_size
from onnxopt.trees.forest import Ensemble, Malformed, Mode
from onnxopt.trees.reading import read_older
from onnxopt.trees.reading_newer import read_newer
from onnxopt.trees.respelling import ML
from onnxopt.trees.simplifying import simplify
from onnxopt.trees.voting import (
    targets_of,
    weights_of,
    with_base_as_trees,
    with_one_vote,
    without_zero_base,
    without_zeros,
)
from onnxopt.trees.writing import write_older
from onnxopt.trees.writing_newer import write_newer

OLDER = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
NEWER = "TreeEnsemble"
_MOST = 20_000_000
"""Nodes of the trees of an ensemble, each with its own, beyond which it is left alone."""


@dataclass(frozen=True, eq=False)
class Found:
    """A node that is an ensemble."""

    node: ir.Node
    feature: np.dtype[Any] | None
    """The element type of its input."""
    ensemble: Ensemble
    """Simplified."""
    splits: int
    """How many nodes that took off, each counted with its own."""


def find(graph: ir.Graph, ctx: Context) -> list[Found]:
    """The ensembles of every scope that can be read; of the others it is said why not."""
    nodes = [node for node in ir.every_node(graph) if node.domain == ML and node.op in (*OLDER, NEWER)]
    types = element_types(graph) if any(_dtype(node, {}) is None for node in nodes) else {}
    found = []
    for node in nodes:
        feature = _dtype(node, types)
        try:
            if any(isinstance(value, ir.Node.AttributeRef) for value in node.attrs.values()):
                raise Malformed("its attributes are those of a function")
            read = read_newer(node.attrs) if node.op == NEWER else read_older(node.op, node.attrs)
            nodes_before = read.nodes()
            if _asks_for_equality(read) and not _is_plain(read):
                raise Malformed("it asks for equality, with tracks of missing values or leaves without weight")
            if nodes_before > _MOST:
                raise Malformed(f"its trees have {nodes_before} nodes when nothing is shared")
        except Malformed as reason:
            ctx.refuse(str(reason), node)
            continue
        ensemble, before = _simplified(read, feature, _asks_for_equality(read)), (0, 0)
        while (size := _size(ensemble)) != before:  # leaves without their zeros may be equal, and splits above them go
            ensemble, before = _simplified(ensemble, feature, _asks_for_equality(read)), size
        found.append(Found(node, feature, ensemble, nodes_before - ensemble.nodes()))
    return found


def _dtype(node: ir.Node, types: Any) -> np.dtype[Any] | None:
    source = node.inputs[0] if node.inputs else None
    found: np.dtype[Any] | None = getattr(source, "dtype", None)
    return types.get(source) if found is None else found


def _simplified(ensemble: Ensemble, feature: np.dtype[Any] | None, asks_for_equality: bool) -> Ensemble:
    found = simplify(ensemble, is_dense=feature is None or feature != ensemble.forest.dtype)
    if ensemble.labels is not None and ensemble.targets <= 2 and _kind(found) != _kind(ensemble):
        found = ensemble  # of two classes onnxruntime asks whether any weight at all is negative, or for the second
    return without_zero_base(found if asks_for_equality else without_zeros(found))


def _size(ensemble: Ensemble) -> tuple[int, int]:
    """Nodes and votes."""
    return ensemble.nodes(), sum(len(leaf.votes) for leaf in ensemble.leaves())


def _asks_for_equality(ensemble: Ensemble) -> bool:
    """Whether onnxruntime 1.31 may take splits together as one that asks for membership in a set.

    It does so where a feature is compared with several small integers and the true branches are the same, leaf by leaf;
    it then ignores the tracks of missing values of all but one, and leaves without weight confuse it. Where there are
    none of these, equal branches may become equal nodes as they please.
    """
    return any(split.mode in (Mode.EQ, Mode.MEMBER) for split in ensemble.splits())


def _is_plain(ensemble: Ensemble) -> bool:
    return not any(split.nan_is_true for split in ensemble.splits()) and all(leaf.votes for leaf in ensemble.leaves())


def _kind(ensemble: Ensemble) -> tuple[set[int], bool]:
    return targets_of(ensemble), bool(np.any(ensemble.forest.values(weights_of(ensemble)) < 0))


def compact(edit: Edit, found: Found, ctx: Context) -> None:
    """Rewrite the attributes of one ensemble, where that makes them smaller."""
    node, ensemble = found.node, found.ensemble
    if node.op == NEWER:
        single = with_one_vote(with_base_as_trees(ensemble))
        assert single is not None
        attrs = write_newer(single, ensemble.forest.dtype)
    else:
        attrs = write_older(node.op, ensemble, node.attrs)
    before, after = stored_size(node.attrs), stored_size(attrs)
    if after < before and ctx.allow(f"{before} bytes of attributes are {after}", node):
        replace_attributes(edit, node, attrs)
        ctx.count("ensembles")
        ctx.count("nodes of trees removed", found.splits)


def replace_attributes(edit: Edit, node: ir.Node, attrs: dict[str, Any]) -> None:
    """Give a node other attributes, and drop what the file said of the old ones."""
    node.attrs.clear()
    node.attrs.update(attrs)
    node.attr_shells = None
    edit.changed = True
