"""Votes of zero, which add nothing, and whether a class that got no vote can be told from one that got zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from onnxopt.trees.forest import Ensemble, Forest, Leaf

ADDING = ("SUM", "AVERAGE")
"""Aggregates to which a vote of zero adds nothing; the lowest and the highest of votes are others without it."""


def without_zeros(ensemble: Ensemble) -> Ensemble:
    """The same ensemble without votes of zero, where they add nothing.

    Sums start at 0.0, to which neither 0.0 nor -0.0 adds. But onnxruntime takes only classes that got some vote for the
    label, and adds base values to targets that did, so that a target that always got one must go on to: one tree keeps
    its votes, zero or not. A target that might get none keeps all of its.
    """
    if ensemble.aggregate not in ADDING or (ensemble.labels is not None and ensemble.targets == 1):
        return ensemble
    kept = [0] * len(ensemble.roots)
    if ensemble.labels is not None or (ensemble.targets > 1 and ensemble.base):
        always, firmly = _sure(ensemble, lambda weight: True), _sure(ensemble, _is_not_zero(ensemble.forest))
        for target in range(ensemble.targets):
            bit = 1 << target
            if any(mask & bit for mask in firmly):
                continue
            witness = next((tree for tree, mask in enumerate(always) if mask & bit), None)
            kept = [mask | bit if witness in (None, tree) else mask for tree, mask in enumerate(kept)]
    roots: list[int] = []
    rewritten: dict[int, list[int]] = {}
    for root, mask in zip(ensemble.roots, kept, strict=True):
        if mask not in rewritten:
            rewritten[mask] = rewrite(ensemble.forest, _dropping(ensemble.forest, mask))
        roots.append(rewritten[mask][root])
    found = ensemble.with_roots(roots)
    return found if weights_of(found) else ensemble


def without_any_zero(ensemble: Ensemble) -> Ensemble:
    """The same ensemble without votes of zero, where nobody asks who got a vote."""
    if ensemble.aggregate not in ADDING:
        return ensemble
    rewritten = rewrite(ensemble.forest, _dropping(ensemble.forest, 0))
    return ensemble.with_roots(rewritten[root] for root in ensemble.roots)


def without_zero_base(ensemble: Ensemble) -> Ensemble:
    """The same ensemble without base values that are all 0, where adding them changes nothing.

    Of a classifier, a base value stands for a vote too: each of its three or more classes has to get one always.
    """
    rest = (1 << (8 * ensemble.forest.dtype.itemsize - 1)) - 1
    if any(bits & rest for bits in ensemble.base) or ensemble.aggregate not in ADDING:
        return ensemble
    bare = replace(ensemble, base=())
    return bare if ensemble.labels is None or (ensemble.targets > 2 and all_vote(bare)) else ensemble


def presence_is_sure(ensemble: Ensemble) -> bool:
    """Whether it makes no difference to a classifier of three or more classes which of them got a vote.

    Either all of them always do, or base values stand for a vote, or no weight is negative and some tree gives a
    positive one in every case: then the label is a class that got one.
    """
    if ensemble.base:
        return True
    if all_vote(ensemble):
        return True
    weights = ensemble.forest.values(weights_of(ensemble))
    return bool(np.all(weights >= 0)) and any(_sure(ensemble, _is_not_zero(ensemble.forest), any_target=True))


def all_vote(ensemble: Ensemble) -> bool:
    """Whether every target gets a vote in every case, of zero maybe."""
    found = 0
    for mask in _sure(ensemble, lambda weight: True):
        found |= mask
    return found == (1 << ensemble.targets) - 1


def weights_of(ensemble: Ensemble) -> list[int]:
    """The bits of all weights in use, in no order."""
    return [weight for leaf in ensemble.leaves() for _, weight in leaf.votes]


def targets_of(ensemble: Ensemble) -> set[int]:
    """The targets that some leaf votes for."""
    return {target for leaf in ensemble.leaves() for target, _ in leaf.votes}


def _sure(ensemble: Ensemble, counts: Callable[[int], bool], *, any_target: bool = False) -> list[int]:
    """By tree, the targets (as bits) for which every leaf has a vote that counts; any target as the first."""
    masks: list[int] = []
    for node in ensemble.forest.nodes:
        if isinstance(node, Leaf):
            voted = [0 if any_target else target for target, weight in node.votes if counts(weight)]
            masks.append(sum(1 << target for target in set(voted)))
        else:
            masks.append(masks[node.true] & masks[node.false])
    return [masks[root] for root in ensemble.roots]


def _is_not_zero(forest: Forest) -> Callable[[int], bool]:
    rest = (1 << (8 * forest.dtype.itemsize - 1)) - 1
    return lambda weight: bool(weight & rest)


def _dropping(forest: Forest, kept: int) -> Callable[[Leaf], Leaf]:
    is_not_zero = _is_not_zero(forest)
    return lambda leaf: Leaf(tuple(vote for vote in leaf.votes if is_not_zero(vote[1]) or kept >> vote[0] & 1))


def rewrite(forest: Forest, change: Callable[[Leaf], Leaf]) -> list[int]:
    """By number, the number of the same subtree with other leaves. What is both sides of a split replaces it."""
    found: list[int] = []
    for node in list(forest.nodes):
        if isinstance(node, Leaf):
            found.append(forest.add(change(node)))
        else:
            true, false = found[node.true], found[node.false]
            found.append(true if true == false else forest.add(node._replace(true=true, false=false)))
    return found


def with_one_vote(ensemble: Ensemble) -> Ensemble | None:
    """The same ensemble with one vote in every leaf, as TreeEnsemble has them; None where a leaf has several.

    Only for ensembles in which a vote of zero makes no difference, or in which every leaf has a vote.
    """
    for leaf in ensemble.leaves():
        if len(leaf.votes) > 1 or (not leaf.votes and ensemble.aggregate not in ADDING):
            return None
    forest = ensemble.forest
    rewritten = rewrite(forest, lambda leaf: leaf if leaf.votes else Leaf(((0, 0),)))
    return replace(ensemble, roots=tuple(rewritten[root] for root in ensemble.roots))


def with_base_as_trees(ensemble: Ensemble) -> Ensemble:
    """The same sums, with base values as trees of one leaf: the last to be added, as base values are."""
    base = [ensemble.forest.add(Leaf(((target, bits),))) for target, bits in enumerate(ensemble.base)]
    return replace(ensemble, roots=(*ensemble.roots, *base), base=())
