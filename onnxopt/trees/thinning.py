"""Ensembles of fewer trees, which say nearly the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxopt import ir
from onnxopt.activations.streaming import stream
from onnxopt.pipeline.base import Context
from onnxopt.trees.compacting import Found
from onnxopt.trees.forest import Array, Ensemble, Forest, Leaf, Mode, Split
from onnxopt.trees.voting import all_vote, rewrite, targets_of

_ROWS = 512
"""To look at."""


def thin(main: ir.Graph, found: Found, most: int, ctx: Context) -> Found:
    """Leave at most `most` trees that split, those whose votes vary most.

    With f the sum of all trees and k that of the kept ones, both as functions of the rows, f is about a k + b: a by
    least squares, over all targets together, and b the mean that is then missing of each target; no b where each tree
    gives out the same sum in shares, as those of a forest do with probabilities.
    """
    ensemble = found.ensemble
    roots = np.array(ensemble.roots)
    splitting = np.array([isinstance(ensemble.forest.nodes[root], Split) for root in roots])
    if splitting.sum() <= most:
        return found
    if reason := _obstacle(ensemble):
        ctx.refuse(reason, found.node)
        return found
    said = _said(ensemble, _rows(main, found, ctx))
    spread = np.where(splitting, said.var(axis=1).sum(axis=-1), -1.0)
    kept = ~splitting
    kept[np.argsort(-spread, kind="stable")[:most]] = True
    total, part = said.sum(axis=0), said[kept].sum(axis=0)
    shares = ensemble.targets > 1 and np.ptp(said.sum(axis=-1)) < 1e-5
    middle, whole = (0.0, 0.0) if shares else (part.mean(axis=0), total.mean(axis=0))
    scale = float(np.sum((part - middle) * (total - whole)) / max(float(np.sum((part - middle) ** 2)), 1e-30))
    scale = scale if 0 < scale < np.inf else 1.0
    missing = np.zeros(ensemble.targets) if shares else (total - scale * part).mean(axis=0)
    if not ctx.allow(f"{int(splitting.sum())} trees are {most}", found.node):
        return found
    ctx.count("trees removed", int((~kept).sum()))
    return replace(found, ensemble=_rescaled(ensemble, roots[kept].tolist(), scale, missing))


def _obstacle(ensemble: Ensemble) -> str | None:
    if ensemble.aggregate != "SUM":
        return f"max-trees: its trees are not added up, but {ensemble.aggregate}"
    two = ensemble.labels is not None and ensemble.targets <= 2
    if two and (targets_of(ensemble) != {0} or len(ensemble.base) > 1):
        return "max-trees: of two classes both have votes, or base values"
    if not two and ensemble.targets > 1 and not all_vote(ensemble):
        return "max-trees: a target may be without a vote"
    return None


def _rescaled(ensemble: Ensemble, roots: list[int], scale: float, missing: Array) -> Ensemble:
    forest = ensemble.forest

    def scaled(leaf: Leaf) -> Leaf:
        weights = forest.values(weight for _, weight in leaf.votes).astype(np.float64) * scale
        return Leaf(tuple(zip((target for target, _ in leaf.votes), forest.bits(weights), strict=True)))

    rewritten = rewrite(forest, scaled)
    places = 1 if ensemble.labels is not None and ensemble.targets == 2 else ensemble.targets
    base = forest.values(ensemble.base).astype(np.float64) if ensemble.base else np.zeros(places)
    bits = forest.bits(base + missing[:places] + 0.0)
    return replace(ensemble, roots=tuple(rewritten[root] for root in roots), base=tuple(bits))


def _rows(main: ir.Graph, found: Found, ctx: Context) -> Array:
    """Rows of features: of the calibration data, or drawn from the thresholds and what lies about them."""
    source = found.node.inputs[0]
    if ctx.data is not None and found.node in main.nodes:
        parts = [values[source.name] for values in stream(main, [source.name], ctx.data.take(_ROWS))]
        return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])[:_ROWS].astype(np.float64)
    rng = np.random.default_rng(0)
    splits = found.ensemble.splits()
    rows = np.zeros((_ROWS, 1 + max(split.feature for split in splits)))
    for feature in {split.feature for split in splits}:
        values = found.ensemble.forest.values(split.threshold for split in splits if split.feature == feature)
        values = np.unique(values[np.isfinite(values)].astype(np.float64))
        if len(values):
            width = values[-1] - values[0] or 1.0
            rows[:, feature] = rng.choice(values, _ROWS) + rng.normal(0, 0.1 * width, _ROWS)
    return rows


def _said(ensemble: Ensemble, rows: Array) -> Array:
    """What each tree says of each row: [trees, rows, targets]."""
    forest, known = ensemble.forest, dict[int, Array]()
    for root in dict.fromkeys(ensemble.roots):
        known[root] = _walk(forest, root, rows, ensemble.targets)
    return np.stack([known[root] for root in ensemble.roots])


def _walk(forest: Forest, root: int, rows: Array, targets: int) -> Array:
    found = np.zeros((len(rows), targets))
    pending = [(root, np.arange(len(rows)))]
    while pending:
        number, here = pending.pop()
        node = forest.nodes[number]
        if isinstance(node, Split):
            is_true = _is_true(forest, node, rows[here, node.feature])
            pending += [(node.true, here[is_true]), (node.false, here[~is_true])]
        elif len(here):
            for target, weight in zip((t for t, _ in node.votes), forest.values(w for _, w in node.votes), strict=True):
                found[here, target] = weight
    return found


def _is_true(forest: Forest, split: Split, values: Array) -> Array:
    (at,) = forest.values([split.threshold])
    compare = {
        Mode.LEQ: np.less_equal, Mode.LT: np.less, Mode.GTE: np.greater_equal, Mode.GT: np.greater, Mode.EQ: np.equal,
        Mode.NEQ: np.not_equal,
    }.get(Mode(split.mode))  # fmt: skip
    found: Array = np.isin(values, forest.values(split.members)) if compare is None else compare(values, at)
    return found | (np.isnan(values) & split.nan_is_true)
