"""Ensembles as the attributes of TreeEnsembleClassifier and TreeEnsembleRegressor (ai.onnx.ml 1 to 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxopt.ir.tensor import Constant
from onnxopt.trees.forest import Ensemble, Leaf, Mode, Split

_LISTS = ("nodeids", "treeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")


def write_older(op: str, ensemble: Ensemble, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without what says nothing: hit rates, base values of zero, tracks of missing values nowhere wanted.

    Nodes are numbered from 0 in each tree, with the root first. A leaf that a true branch leads to stands for its twins
    that other true branches of the tree lead to: onnxruntime reads nodes false branch first, and each false branch has
    to lead to a node that it has not read.

    Args:
        op: the operator.
        ensemble: what to write.
        kept: attributes as they were, of which the remaining ones are kept: labels, transform, aggregate.
    """
    prefix = "class" if op == "TreeEnsembleClassifier" else "target"
    columns: dict[str, list[Any]] = {name: [] for name in _LISTS}
    tracks: list[int] = []
    votes: tuple[list[int], ...] = ([], [], [], [])
    shares = all(split.mode != Mode.EQ for split in ensemble.splits())
    for tree, root in enumerate(ensemble.roots):
        _write_tree(ensemble, tree, root, shares, columns, tracks, votes)
    forest = ensemble.forest
    thresholds, weights = forest.values(columns.pop("values")), forest.values(votes[3])
    found: dict[str, Any] = {f"nodes_{name}": column for name, column in columns.items()}
    if any(tracks):
        found["nodes_missing_value_tracks_true"] = tracks
    for name, numbers in zip(("treeids", "nodeids", "ids"), votes, strict=False):
        if numbers:  # an empty list is of no type
            found[f"{prefix}_{name}"] = numbers
    base = forest.values(ensemble.base)
    for name, values in (("nodes_values", thresholds), (f"{prefix}_weights", weights), ("base_values", base)):
        was_tensor = kept.get(f"{name}_as_tensor") is not None
        if len(values):
            found[f"{name}_as_tensor" if was_tensor else name] = (
                Constant("", values.astype(kept[f"{name}_as_tensor"].dtype)) if was_tensor else values.tolist()
            )
    for name in ("classlabels_int64s", "classlabels_strings", "n_targets", "post_transform", "aggregate_function"):
        default = {"post_transform": "NONE", "aggregate_function": "SUM"}.get(name)
        if name in kept and kept[name] != default and kept[name] != []:
            found[name] = kept[name]
    return {name: found[name] for name in sorted(found)}


def _write_tree(
    ensemble: Ensemble,
    tree: int,
    root: int,
    shares: bool,
    columns: dict[str, list[Any]],
    tracks: list[int],
    votes: tuple[list[int], ...],
) -> None:
    """Nodes in the order in which onnxruntime will hold them: a node, its false branch, its true branch."""
    nodes, first = ensemble.forest.nodes, len(columns["nodeids"])
    twins: dict[int, int] = {}
    pending: list[tuple[int, int | None, str]] = [(root, None, "")]
    while pending:
        number, parent, side = pending.pop()
        node = nodes[number]
        if isinstance(node, Leaf) and side == "true" and number in twins:
            columns["truenodeids"][first + (parent or 0)] = twins[number]
            continue
        here = len(columns["nodeids"]) - first
        if parent is not None:
            columns[f"{side}nodeids"][first + parent] = here
        columns["nodeids"].append(here)
        columns["treeids"].append(tree)
        columns["truenodeids"].append(0)
        columns["falsenodeids"].append(0)
        if isinstance(node, Split):
            row: tuple[Any, ...] = (f"BRANCH_{Mode(node.mode).name}", node.feature, node.threshold)
            tracks.append(int(node.nan_is_true))
            pending += [(node.true, here, "true"), (node.false, here, "false")]
        else:
            row = ("LEAF", 0, 0)
            tracks.append(0)
            if shares:
                twins.setdefault(number, here)
            for target, weight in node.votes:
                for column, value in zip(votes, (tree, here, target, weight), strict=True):
                    column.append(value)
        for name, value in zip(("modes", "featureids", "values"), row, strict=True):
            columns[name].append(value)
