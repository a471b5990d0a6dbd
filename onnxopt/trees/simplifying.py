"""Trees without the splits that decide nothing."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from onnxopt.trees.forest import Ensemble, Forest, Mode, Split

_MOST = 4_000_000
"""Nodes, each as often as a path leads to it, beyond which trees stay as they are: shared subtrees can be very many."""
_Possible: TypeAlias = tuple[int, int, bool]
"""What a feature may still be on a path: the lowest and highest number, in order of size, and whether it may be NaN."""


def simplify(ensemble: Ensemble, *, is_dense: bool) -> Ensemble:
    """The same trees without splits that always go one way, or that lead to the same on both sides.

    On a path from the root, each split has told something of its feature: an interval, and whether it may be NaN. Of a
    later split on the same feature one side may be out of reach. What an ensemble says stays the same, bit by bit.

    Args:
        ensemble: the trees.
        is_dense: whether features may lie between a number of the thresholds' type and the next: float64 features that
            are compared with float32 thresholds.
    """
    if ensemble.nodes() > _MOST:
        return ensemble
    paths, known = _Paths(ensemble.forest, 2 if is_dense else 1), dict[int, int]()
    for root in ensemble.roots:
        if root not in known:
            known[root] = paths.walk(root)
    return ensemble.with_roots(known[root] for root in ensemble.roots)


class _Paths:
    """Walks trees along all paths; new subtrees go into the same forest.

    Args:
        forest: of the trees.
        step: from one number to the next; 2 leaves room for what lies between.
    """

    def __init__(self, forest: Forest, step: int) -> None:
        self.forest, self.step = forest, step
        bits = 8 * forest.dtype.itemsize
        self.sign, self.rest = 1 << (bits - 1), (1 << (bits - 1)) - 1
        self.infinity = self._order(forest.bits(np.array([np.inf]))[0])
        self.all: _Possible = (-self.infinity, self.infinity, True)
        self.possible: dict[int, _Possible] = {}

    def _order(self, bits: int) -> int:
        """An integer that grows with the number, by a step to the next one; the same for 0.0 and -0.0."""
        return self.step * (-(bits & self.rest) if bits & self.sign else bits)

    def walk(self, root: int) -> int:
        """The number of the simplified tree. Without recursion: chains are thousands of nodes deep."""
        nodes, possible = self.forest.nodes, self.possible
        made: list[int] = []
        enter, know, join = 0, 1, 2
        pending: list[tuple[int, int, _Possible | None]] = [(enter, root, None)]
        while pending:
            kind, number, told = pending.pop()
            node = nodes[number] if kind != know else None
            if kind == know:
                if told is None:
                    possible.pop(number, None)
                else:
                    possible[number] = told
            elif not isinstance(node, Split):
                made.append(number)
            elif kind == join:
                false, true = made.pop(), made.pop()
                made.append(true if true == false else self.forest.add(node._replace(true=true, false=false)))
            else:
                before = possible.get(node.feature)
                true_side, false_side = self._sides(node, before or self.all)
                if not _is_possible(true_side):
                    pending.append((enter, node.false, None))
                elif not _is_possible(false_side):
                    pending.append((enter, node.true, None))
                else:
                    pending += [
                        (join, number, None), (know, node.feature, before),
                        (enter, node.false, None), (know, node.feature, false_side),
                        (enter, node.true, None), (know, node.feature, true_side),
                    ]  # fmt: skip
        possible.clear()
        return made.pop()

    def _sides(self, node: Split, known: _Possible) -> tuple[_Possible, _Possible]:
        """What the feature may be where the split is true, and where it is false."""
        low, high, nan = known
        mode = node.mode
        if mode == Mode.MEMBER:
            return known, known
        nan_is_true = node.nan_is_true or mode == Mode.NEQ
        at = self._order(node.threshold)
        if abs(at) > self.infinity:  # NaN: no number compares with it
            inside, outside = (low, low - 1), (low, high)
        elif mode == Mode.LEQ:
            inside, outside = (low, min(high, at)), (max(low, at + 1), high)
        elif mode == Mode.LT:
            inside, outside = (low, min(high, at - 1)), (max(low, at), high)
        elif mode == Mode.GTE:
            inside, outside = (max(low, at), high), (low, min(high, at - 1))
        elif mode == Mode.GT:
            inside, outside = (max(low, at + 1), high), (low, min(high, at))
        else:
            inside, outside = (max(low, at), min(high, at)), (low + (at == low), high - (at == high))
        if mode == Mode.NEQ:
            inside, outside = outside, inside
        return (*inside, nan and nan_is_true), (*outside, nan and not nan_is_true)


def _is_possible(side: _Possible) -> bool:
    return side[0] <= side[1] or side[2]
