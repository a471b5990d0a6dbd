"""TreeEnsemble, ai.onnx.ml 5: inner nodes and leaves in lists of their own, read by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxopt.trees.attributes import Attributes
from onnxopt.trees.forest import Array, Ensemble, Forest, Leaf, Malformed, Mode, Split
from onnxopt.trees.reading import AGGREGATES, TRANSFORMS


def read_newer(values: Mapping[str, Any]) -> Ensemble:
    """The ensemble that the attributes of a TreeEnsemble describe.

    Raises:
        Malformed: They describe none, or what they describe depends on who reads it.
    """
    given = Attributes(values)
    targets = given.number("n_targets", 0)
    if targets < 1:
        raise Malformed("it has no targets")
    splits, weights = given.tensor("nodes_splits", _FLOATS), given.tensor("leaf_weights", _FLOATS)
    modes = given.tensor("nodes_modes", (np.uint8,))
    if splits is None or weights is None or modes is None or splits.dtype != weights.dtype or not len(splits):
        raise Malformed("it has no splits, no modes or no weights, or of different types")
    aims = given.ints("leaf_targetids", len(weights))
    if aims and max(aims) >= targets:
        raise Malformed(f"a weight is for target {max(aims)} of {targets}")
    forest = Forest(splits.dtype)
    leaves = [forest.add(Leaf((vote,))) for vote in zip(aims, forest.bits(weights), strict=True)]
    roots = _Inner(given, forest, splits, modes, leaves).grow(given.ints("tree_roots"))
    if not roots:
        raise Malformed("it has no trees")
    aggregate = given.number("aggregate_function", AGGREGATES.index("SUM"))
    transform = given.number("post_transform", TRANSFORMS.index("NONE"))
    if aggregate >= len(AGGREGATES) or transform >= len(TRANSFORMS):
        raise Malformed("'aggregate_function' or 'post_transform' is none of the known numbers")
    return Ensemble(forest, tuple(roots), targets, AGGREGATES[aggregate], TRANSFORMS[transform])


_FLOATS = (np.float32, np.float64)


class _Inner:
    """The inner nodes of a TreeEnsemble."""

    def __init__(self, given: Attributes, forest: Forest, splits: Array, modes: Array, leaves: Sequence[int]) -> None:
        count = len(splits)
        self.forest, self.leaves = forest, leaves
        self.thresholds, self.modes = forest.bits(splits), modes.tolist()
        if len(modes) != count or (count and max(self.modes) > Mode.MEMBER):
            raise Malformed("'nodes_modes' has an unknown number, or one too many or too few")
        self.features = given.ints("nodes_featureids", count)
        self.tracks = given.ints("nodes_missing_value_tracks_true", count, default=0)
        self.children = [given.ints(f"nodes_{side}nodeids", count) for side in ("true", "false")]
        self.ends = [given.ints(f"nodes_{side}leafs", count) for side in ("true", "false")]
        for numbers, ends in zip(self.children, self.ends, strict=True):
            for number, end in zip(numbers, ends, strict=True):
                if number >= (len(leaves) if end else count):
                    raise Malformed(f"there is no {'leaf' if end else 'node'} {number}")
        self.members = self._sets(given)

    def _sets(self, given: Attributes) -> list[tuple[int, ...]]:
        """The members of each node's set: separated by NaN, in the order of the nodes that have one."""
        listed = given.tensor("membership_values", _FLOATS)
        nodes = [index for index, mode in enumerate(self.modes) if mode == Mode.MEMBER]
        found: list[tuple[int, ...]] = [()] * len(self.modes)
        if not nodes:
            return found
        if listed is None or listed.dtype != self.forest.dtype:
            raise Malformed("'membership_values' is missing or of another type")
        ends = [*np.flatnonzero(np.isnan(listed)).tolist(), len(listed)]
        if ends[-1] - ends[-2:][0] == 1 and len(ends) > len(nodes):
            ends.pop()  # a NaN stands after the last set too
        if len(ends) != len(nodes):
            raise Malformed(f"'membership_values' has {len(ends)} sets for {len(nodes)} nodes")
        bits, first = self.forest.bits(listed), 0
        for node, end in zip(nodes, ends, strict=True):
            found[node], first = tuple(bits[first:end]), end + 1
            if not found[node]:
                raise Malformed(f"the set of node {node} is empty")
        return found

    def grow(self, roots: Sequence[int]) -> list[int]:
        """Intern the trees from their leaves up."""
        done: list[int | None] = [None] * len(self.modes)
        is_open = [False] * len(self.modes)
        for root in roots:
            if root >= len(done):
                raise Malformed(f"there is no node {root}")
            pending = [root]
            while pending:
                node = pending[-1]
                if done[node] is not None:
                    pending.pop()
                    continue
                below = [self._below(side, node, done) for side in (0, 1)]
                if None not in below:
                    done[node] = self._intern(node, *below)
                    continue
                if is_open[node]:
                    raise Malformed("it has a cycle")
                is_open[node] = True
                pending += [self.children[side][node] for side in (0, 1) if below[side] is None]
        return [self._root(root, done) for root in roots]

    def _below(self, side: int, node: int, done: Sequence[int | None]) -> int | None:
        child = self.children[side][node]
        return self.leaves[child] if self.ends[side][node] else done[child]

    def _intern(self, node: int, true: int | None, false: int | None) -> int:
        assert true is not None and false is not None
        mode, nan_is_true = self.modes[node], self.tracks[node] == 1
        threshold = 0 if mode == Mode.MEMBER else self.thresholds[node]
        split = Split(self.features[node], mode, threshold, nan_is_true, self.members[node], true, false)
        return self.forest.add(split)

    def _root(self, root: int, done: Sequence[int | None]) -> int:
        """A tree of one leaf is a node with that leaf on both sides."""
        leaf = self.children[0][root]
        if self.ends[0][root] and self.ends[1][root] and leaf == self.children[1][root]:
            if self.leaves[leaf] != (self.leaves[root] if root < len(self.leaves) else None):
                raise Malformed(f"node {root} is a tree of leaf {leaf}, for which onnxruntime takes leaf {root}")
            return self.leaves[leaf]
        number = done[root]
        assert number is not None
        return number
