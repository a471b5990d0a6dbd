"""TreeEnsembleClassifier and TreeEnsembleRegressor, ai.onnx.ml 1 to 3: lists by node, and votes by leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxopt.trees.attributes import Attributes
from onnxopt.trees.forest import Array, Ensemble, Forest, Leaf, Malformed, Mode, Split

_MODES = {f"BRANCH_{mode.name}": int(mode) for mode in Mode if mode is not Mode.MEMBER}
_LEAF = -1
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""Numbered as by TreeEnsemble."""
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
"""Numbered as by TreeEnsemble."""


@dataclass(frozen=True)
class _Table:
    """The attributes by node, and what was found of them."""

    forest: Forest
    modes: list[int]
    features: list[int]
    thresholds: list[int]
    tracks: list[int]
    true: list[int]
    """Rows of the children; of a leaf, nothing."""
    false: list[int]
    votes: list[list[tuple[int, int]]]


def read_older(op: str, values: Mapping[str, Any]) -> Ensemble:
    """The ensemble that the attributes of a TreeEnsembleClassifier or TreeEnsembleRegressor describe.

    Raises:
        Malformed: They describe none, or what they describe depends on who reads it.
    """
    given = Attributes(values)
    classifies = op == "TreeEnsembleClassifier"
    prefix = "class" if classifies else "target"
    labels = given.labels() if classifies else None
    targets = len(labels) if labels else given.number("n_targets", 0)
    if targets < 1:
        raise Malformed("it has no targets")
    trees = given.ints("nodes_treeids")
    if not trees:
        raise Malformed("it has no nodes")
    thresholds = given.floats("nodes_values", len(trees))
    weights, base = given.floats(f"{prefix}_weights"), given.floats("base_values")
    allowed = (0, 1, 2) if classifies and targets <= 2 else (0, targets)
    if len(base) not in allowed:
        raise Malformed(f"it has {len(base)} base values for {targets} targets")
    forest = Forest(np.result_type(thresholds, weights, base))
    table, starts = _table(given, forest, trees, thresholds, prefix, weights, targets)
    roots = _grow(table, starts)
    aggregate = "SUM" if classifies else given.text("aggregate_function", "SUM", AGGREGATES)
    transform = given.text("post_transform", "NONE", TRANSFORMS)
    return Ensemble(forest, tuple(roots), targets, aggregate, transform, tuple(forest.bits(base)), labels)


def _table(
    given: Attributes, forest: Forest, trees: list[int], thresholds: Array, prefix: str, weights: Array, targets: int
) -> tuple[_Table, list[int]]:
    rows = len(trees)
    ids = given.ints("nodes_nodeids", rows)
    row_of = {key: row for row, key in enumerate(zip(trees, ids, strict=True))}
    if len(row_of) < rows:
        raise Malformed("two nodes of a tree have the same id")
    starts = [row for row in range(rows) if row == 0 or trees[row] != trees[row - 1]]
    if len({trees[row] for row in starts}) < len(starts):
        raise Malformed("the nodes of a tree do not stand together")
    modes = [_mode(name) for name in given.strings("nodes_modes", rows)]
    children: list[list[int]] = []
    for side in ("true", "false"):
        wanted = given.ints(f"nodes_{side}nodeids", rows)
        try:
            children.append([
                0 if mode == _LEAF else row_of[tree, child]
                for mode, tree, child in zip(modes, trees, wanted, strict=True)
            ])  # fmt: skip
        except KeyError as error:
            raise Malformed(f"tree {error.args[0][0]} has no node {error.args[0][1]}") from None
    tracks = given.ints("nodes_missing_value_tracks_true", rows, default=0)
    if max(tracks) > 1:
        raise Malformed("'nodes_missing_value_tracks_true' is neither 0 nor 1")
    features = given.ints("nodes_featureids", rows)
    votes = _votes(given, forest, prefix, weights, row_of, targets, modes)
    if targets == 1 and any(mode == _LEAF and not cast for mode, cast in zip(modes, votes, strict=True)):
        empty = [row for row in range(rows) if modes[row] == _LEAF and not votes[row]]
        if thresholds[empty].any():
            raise Malformed("a leaf without weight has a value, which onnxruntime takes for its weight")
    true, false = children
    return _Table(forest, modes, features, forest.bits(thresholds), tracks, true, false, votes), starts


def _mode(name: str) -> int:
    if name == "LEAF":
        return _LEAF
    if name not in _MODES:
        raise Malformed(f"'nodes_modes' has {name!r}")
    return _MODES[name]


def _votes(
    given: Attributes,
    forest: Forest,
    prefix: str,
    weights: Array,
    row_of: Mapping[tuple[int, int], int],
    targets: int,
    modes: Sequence[int],
) -> list[list[tuple[int, int]]]:
    found: list[list[tuple[int, int]]] = [[] for _ in modes]
    length = len(weights)
    columns = [given.ints(f"{prefix}_{of}ids", length) for of in ("tree", "node", "")]
    for tree, node, target, weight in zip(*columns, forest.bits(weights), strict=True):
        row = row_of.get((tree, node))
        if row is None or modes[row] != _LEAF:
            raise Malformed(f"a weight is for node {node} of tree {tree}, which is no leaf")
        if target >= targets:
            raise Malformed(f"a weight is for target {target} of {targets}")
        if any(target == other for other, _ in found[row]):
            raise Malformed(f"node {node} of tree {tree} has two weights for target {target}")
        found[row].append((target, weight))
    return found


def _grow(table: _Table, starts: Sequence[int]) -> list[int]:
    """Intern the trees from their leaves up; the first node of a tree is its root."""
    done: list[int | None] = [None] * len(table.modes)
    is_open = [False] * len(table.modes)
    for start in starts:
        pending = [start]
        while pending:
            row = pending[-1]
            if done[row] is not None:
                pending.pop()
            elif table.modes[row] == _LEAF:
                done[row] = table.forest.add(Leaf(tuple(table.votes[row])))
            else:
                true, false = done[table.true[row]], done[table.false[row]]
                if true is not None and false is not None:
                    done[row] = _intern(table, row, true, false)
                    continue
                if is_open[row]:
                    raise Malformed("it has a cycle")
                is_open[row] = True
                pending += [child for child in (table.true[row], table.false[row]) if done[child] is None]
    if any(number is None for number in done):
        raise Malformed("it has a node that no path leads to")
    parents = Counter(
        row for side in (table.true, table.false) for row, mode in zip(side, table.modes, strict=True) if mode != _LEAF
    )
    if any(count > 1 and (table.modes[row] != _LEAF or int(Mode.EQ) in table.modes) for row, count in parents.items()):
        raise Malformed("nodes have several parents, as sets of categories do that onnxruntime takes together")
    return [done[start] or 0 for start in starts]


def _intern(table: _Table, row: int, true: int, false: int) -> int:
    split = Split(table.features[row], table.modes[row], table.thresholds[row], table.tracks[row] == 1, (), true, false)
    return table.forest.add(split)
