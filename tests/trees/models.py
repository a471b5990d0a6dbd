"""Small ensembles written out, and how a test changes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from onnxopt import ir
from tests.trees.random_ensembles import model

LEQ, LEAF = "BRANCH_LEQ", "LEAF"
X = {"x": np.random.default_rng(0).choice([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, np.nan], (300, 3)).astype(np.float32)}


def nodes(*rows: tuple[int, int, str, int, float, int, int]) -> dict[str, Any]:
    """Attributes of nodes given as tree, id, mode, feature, value, true id, false id, with hit rates and tracks."""
    names = ("treeids", "nodeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")
    found: dict[str, Any] = {
        f"nodes_{name}": list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return {
        **found, "nodes_hitrates": [1.0] * len(rows), "nodes_missing_value_tracks_true": [0] * len(rows),
    }  # fmt: skip


def votes(prefix: str, *rows: tuple[int, int, int, float]) -> dict[str, Any]:
    """Attributes of votes given as tree, node, target, weight."""
    names = ("treeids", "nodeids", "ids", "weights")
    return {f"{prefix}_{name}": list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


STUMP = [(0, LEQ, 0, 1.0, 1, 2), (1, LEAF, 0, 0.0, 0, 0), (2, LEAF, 0, 0.0, 0, 0)]
"""A split and its two leaves, for every tree the same."""


def regressor(trees: int = 3, **more: Any) -> dict[str, Any]:
    """Trees of one split each, with weights of their own."""
    rows = [(tree, *row) for tree in range(trees) for row in STUMP]
    cast = [(tree, leaf, 0, 0.5 * tree + leaf) for tree in range(trees) for leaf in (1, 2)]
    return {**nodes(*rows), **votes("target", *cast), "n_targets": 1, **more}


def classifier(trees: int = 4, classes: int = 3, **more: Any) -> dict[str, Any]:
    """Trees of one split each whose leaves are pure, as skl2onnx writes them: a vote for each class."""
    rows = [(tree, *row) for tree in range(trees) for row in STUMP]
    cast = [
        (tree, leaf, target, 0.25 * ((tree + leaf) % classes == target))
        for tree in range(trees) for leaf in (1, 2) for target in range(classes)
    ]  # fmt: skip
    return {**nodes(*rows), **votes("class", *cast), "classlabels_int64s": list(range(classes)), **more}


def binary(trees: int = 4, **more: Any) -> dict[str, Any]:
    """Two classes, with votes for the first alone that mean the second: as skl2onnx and others write them."""
    rows = [(tree, *row) for tree in range(trees) for row in STUMP]
    cast = [(tree, leaf, 0, 0.25 * ((tree + leaf) % 2)) for tree in range(trees) for leaf in (1, 2)]
    return {**nodes(*rows), **votes("class", *cast), "classlabels_int64s": [0, 1], **more}


def graph_of(op: str, attrs: dict[str, Any], **more: Any) -> ir.Graph:
    """As a graph."""
    return ir.from_proto(model(op, attrs, **more))


def attributes(proto: onnx.ModelProto, op: str) -> dict[str, Any]:
    """Of the only node of that operator."""
    (node,) = (node for node in proto.graph.node if node.op_type == op)
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
