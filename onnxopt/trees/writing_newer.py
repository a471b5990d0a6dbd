"""Ensembles as the attributes of TreeEnsemble (ai.onnx.ml 5)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.ir.tensor import Constant
from onnxopt.trees.forest import Array, Ensemble, Leaf, Split
from onnxopt.trees.reading import AGGREGATES, TRANSFORMS

_TRIES = 4
"""How many copies of a subtree to look at for one that the tree does not have yet."""


def write_newer(ensemble: Ensemble, dtype: npt.DTypeLike) -> dict[str, Any]:
    """Attributes in which trees share subtrees, and all leaves of the same vote are one.

    onnxruntime refuses a tree in which two branches lead to the same inner node, so that within a tree a subtree stands
    as often as it occurs. A tree of one leaf is a node with that leaf on both sides; onnxruntime takes the number of
    the node for the leaf's, so that the two are made the same.

    Args:
        ensemble: with one vote in every leaf, and no base values.
        dtype: of the feature, which is that of thresholds and weights.
    """
    layout = _Layout(ensemble)
    forest, rows = ensemble.forest, layout.rows
    splits = [forest.nodes[number] for number in layout.numbers]
    inner = [split for split in splits if isinstance(split, Split)]
    assert len(inner) == len(splits)
    stumps = len(layout.stumps)
    found: dict[str, Any] = {
        "n_targets": ensemble.targets,
        "tree_roots": layout.roots,
        "nodes_featureids": [0] * stumps + [split.feature for split in inner],
        "nodes_modes": Constant("", np.array([0] * stumps + [split.mode for split in inner], np.uint8)),
        "nodes_splits": _tensor(forest.values([0] * stumps + [split.threshold for split in inner]), dtype),
        "leaf_targetids": [target for target, _ in layout.votes],
        "leaf_weights": _tensor(forest.values(weight for _, weight in layout.votes), dtype),
    }
    for side, name in enumerate(("true", "false")):
        found[f"nodes_{name}nodeids"] = [row[side][0] for row in rows]
        found[f"nodes_{name}leafs"] = [int(row[side][1]) for row in rows]
    tracks = [0] * stumps + [int(split.nan_is_true) for split in inner]
    if any(tracks):
        found["nodes_missing_value_tracks_true"] = tracks
    sets = [forest.values(split.members) for split in inner if split.members]
    if sets:
        nan = np.array([np.nan], forest.dtype)
        found["membership_values"] = _tensor(np.concatenate([part for one in sets for part in (one, nan)][:-1]), dtype)
    if ensemble.aggregate != "SUM":
        found["aggregate_function"] = AGGREGATES.index(ensemble.aggregate)
    if ensemble.post_transform != "NONE":
        found["post_transform"] = TRANSFORMS.index(ensemble.post_transform)
    return {name: found[name] for name in sorted(found)}


def _tensor(values: Array, dtype: npt.DTypeLike) -> Constant:
    return Constant("", values.astype(dtype))


class _Layout:
    """Which nodes and leaves there are, and where."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.nodes = ensemble.forest.nodes
        self.numbers: list[int] = []
        """Of the inner nodes, in the forest."""
        self.children: list[list[int]] = []
        """The places of their children in `numbers`; of a leaf, -1 less its number in the forest."""
        self._copies: dict[int, list[int]] = {}
        places = {root: self._place(root) for root in dict.fromkeys(ensemble.roots) if self._is_inner(root)}
        self.stumps = [root for root in dict.fromkeys(ensemble.roots) if not self._is_inner(root)]
        uses = Counter(-1 - child for pair in self.children for child in pair if child < 0)
        order = dict.fromkeys((*self.stumps, *sorted(uses, key=lambda leaf: -uses[leaf])))
        rank = {leaf: position for position, leaf in enumerate(order)}
        self.votes = [self._vote(leaf) for leaf in order]
        more = len(self.stumps)
        self.roots = [places[root] + more if root in places else rank[root] for root in ensemble.roots]
        self.rows: list[tuple[tuple[int, bool], tuple[int, bool]]]
        self.rows = [((position, True), (position, True)) for position in range(more)]
        for pair in self.children:
            true, false = ((rank[-1 - child], True) if child < 0 else (child + more, False) for child in pair)
            self.rows.append((true, false))

    def _is_inner(self, number: int) -> bool:
        return isinstance(self.nodes[number], Split)

    def _vote(self, number: int) -> tuple[int, int]:
        leaf = self.nodes[number]
        assert isinstance(leaf, Leaf) and len(leaf.votes) == 1
        return leaf.votes[0]

    def _place(self, root: int) -> int:
        """Lay out a tree, with what it has in common with those before it."""
        taken: set[int] = set()
        pending: list[tuple[int, int, int]] = []
        top = self._position(root, taken, pending)
        while pending:
            place, side, number = pending.pop()
            inner = self._is_inner(number)
            self.children[place][side] = self._position(number, taken, pending) if inner else -1 - number
        return top

    def _position(self, number: int, taken: set[int], pending: list[tuple[int, int, int]]) -> int:
        """Where a subtree stands that this tree may use: as a copy that it has not used, or as a new one."""
        copies = self._copies.setdefault(number, [])
        for copy in copies[-_TRIES:]:
            if (below := self._free(copy, taken)) is not None:
                taken |= below
                return copy
        place = len(self.numbers)
        split = self.nodes[number]
        assert isinstance(split, Split)
        self.numbers.append(number)
        self.children.append([0, 0])
        copies.append(place)
        taken.add(place)
        pending += [(place, 1, split.false), (place, 0, split.true)]
        return place

    def _free(self, copy: int, taken: set[int]) -> set[int] | None:
        """The places of a subtree; None where the tree has used one of them."""
        found, pending = set[int](), [copy]
        while pending:
            place = pending.pop()
            if place in taken:
                return None
            found.add(place)
            pending += [child for child in self.children[place] if child >= 0]
        return found
