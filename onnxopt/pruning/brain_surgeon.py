"""Exact second-order pruning of small layers: the weight that costs least goes, and the others make it good (OBC).

Frantar & Alistarh 2022, "Optimal Brain Compression", algorithm 1, after Hassibi & Stork 1993, "Optimal Brain Surgeon":
with I the inverse of a row's moments among the weights that are left, a weight p of value w_p costs w_p^2 / I_pp, the
others take -w_p / I_pp * I_p, and I loses I_p I_p^T / I_pp. Blocks go as a whole: w_B^T (I_BB)^-1 w_B.
"""

from __future__ import annotations

import numpy as np

from onnxopt.activations.compensation import Floats
from onnxopt.pruning.least_squares import damped
from onnxopt.pruning.neighbours import Indices, neighbours
from onnxopt.pruning.patterns import Pattern

_BYTES = 4_000_000
"""Of inverses that are worked on together: they stay in the processor's cache."""
_SHRINK = 0.75
"""Of the weights that a row has are left when those that went are taken out of its inverse."""


def removal_errors(weights: Floats, moments: Floats, pattern: Pattern, kernel: int) -> Floats:
    """What the removal of each weight adds to the squared error of its output, in the order that costs least.

    The mean square of an output's error after any number of removals is the sum of their errors. They do not fall along
    the order of removal (one that would is raised to the one before it), so that the lowest of all rows and layers are
    a choice that can be made. What the pattern N:M keeps has infinite ones; of a block each weight has its share.

    Args:
        weights: [rows, weights].
        moments: Of the data: [rows or groups, weights, weights]; the rows of a group follow one another.
        pattern: Where zeros may lie.
        kernel: Places of the kernel, the last axis of the weights: 9 for 3x3.
    """
    rows, size = weights.shape
    share = rows // len(moments)
    height, width = pattern.outputs, pattern.inputs
    found = np.empty((rows, size))
    loaded = damped(moments)
    inverse = np.linalg.inv(loaded)
    step = max(height, _BYTES // (8 * size * size) // height * height)
    for start in range(0, rows, step):
        chosen = np.arange(start, min(start + step, rows))
        part, own = weights[chosen], inverse[chosen // share]
        if pattern.of:
            found[chosen] = _one_by_one(part, own, neighbours(size, pattern.of, kernel), pattern.of - pattern.kept)
        elif height * width == 1:
            found[chosen] = _one_by_one(part, own, None, size)
        else:
            found[chosen] = _block_by_block(part, own, height, neighbours(size, width, kernel))
    return found


def _one_by_one(weights: Floats, inverse: Floats, groups: Indices | None, most: int) -> Floats:
    """Of each weight its error; of `groups` at most so many weights go."""
    rows, size = weights.shape
    row = np.arange(rows)
    number = np.broadcast_to(np.arange(size), (rows, size))
    left, inverse = weights.copy(), inverse.copy()
    group_of = np.zeros(size, np.intp)
    if groups is not None:
        group_of[groups] = np.arange(len(groups))[:, np.newaxis]
    gone = np.zeros((rows, 1 if groups is None else len(groups)), np.intp)
    open_ = np.ones((rows, size), np.bool_)
    alive = open_.copy()
    found = np.full((rows, size), np.inf)
    last = np.zeros(rows)
    for _ in range(size if groups is None else most * len(groups)):
        pivots = np.einsum("rii->ri", inverse)
        cost = np.where(open_, left**2 / np.where(alive, pivots, 1.0), np.inf)
        place = cost.argmin(axis=1)
        last = np.maximum(last, cost[row, place])
        found[row, number[row, place]] = last
        column = inverse[row, :, place]
        column = column / np.sqrt(column[row, place])[:, np.newaxis]
        left -= (left[row, place] / column[row, place])[:, np.newaxis] * column
        inverse -= column[:, :, np.newaxis] * column[:, np.newaxis]
        alive[row, place] = open_[row, place] = False
        if groups is not None:
            group = group_of[number[row, place]]
            gone[row, group] += 1
            is_full = gone[row, group] >= most
            open_ &= ~(is_full[:, np.newaxis] & (group_of[number] == group[:, np.newaxis]))
        if alive[0].sum() < _SHRINK * alive.shape[1] and alive.any():  # every row lost as many
            at = np.argsort(~alive, axis=1, kind="stable")[:, : int(alive[0].sum())]
            inverse = np.take_along_axis(np.take_along_axis(inverse, at[:, :, np.newaxis], 1), at[:, np.newaxis], 2)
            left, number, open_, alive = (np.take_along_axis(each, at, 1) for each in (left, number, open_, alive))
    return found


def _block_by_block(weights: Floats, inverse: Floats, height: int, blocks: Indices) -> Floats:
    """Of each weight its share of its block's error; blocks are so many rows high, and [blocks, width] the columns."""
    rows, size = weights.shape
    width = blocks.shape[1]
    more = -rows % height
    left = np.pad(weights, ((0, more), (0, 1)))  # the last column, -1, stands for those beyond the end
    whole = np.tile(np.eye(size + 1), (rows + more, 1, 1))
    whole[:rows, :size, :size] = inverse
    bands = (rows + more) // height
    first, second = blocks[:, :, np.newaxis], blocks[:, np.newaxis]
    beyond = (first < 0) | (second < 0)
    unit = np.eye(width)
    is_open = np.ones((bands, len(blocks)), np.bool_)
    found = np.empty((rows + more, size + 1))
    heights = np.minimum(height, rows - np.arange(bands) * height)
    widths = (blocks >= 0).sum(axis=1)
    last = np.zeros(bands)
    band = np.arange(bands)
    row = np.arange(rows + more)[:, np.newaxis]
    for _ in range(len(blocks)):
        gone = np.repeat(~is_open, height, axis=0)[:, :, np.newaxis, np.newaxis]
        inner = np.where(beyond | gone, unit, whole[:, first, second])
        values = left[:, blocks]
        costs = values**2 / inner[..., 0] if width == 1 else values * _solve(inner, values)
        costs = costs.sum(axis=-1).reshape(bands, height, -1).sum(axis=1) / (heights[:, np.newaxis] * widths)
        place = np.where(is_open, costs, np.inf).argmin(axis=1)
        last = np.maximum(last, costs[band, place])
        is_open[band, place] = False
        at = np.repeat(blocks[place], height, axis=0)
        found[row, at] = np.repeat(last, height)[:, np.newaxis]
        outside = at < 0
        strip = np.where(outside[:, :, np.newaxis], 0.0, whole[row, at])
        system = np.where(
            outside[:, :, np.newaxis] | outside[:, np.newaxis],
            unit,
            np.take_along_axis(strip, at[:, np.newaxis] % (size + 1), 2),
        )
        taken = np.linalg.solve(system, strip)
        left -= (left[row, at][:, np.newaxis] @ taken)[:, 0]
        for one, other in zip(strip.swapaxes(0, 1), taken.swapaxes(0, 1), strict=True):  # faster than thin products
            whole -= one[:, :, np.newaxis] * other[:, np.newaxis]
    return found[:rows, :size]


def _solve(systems: Floats, sides: Floats) -> Floats:
    return np.asarray(np.linalg.solve(systems, sides[..., np.newaxis])[..., 0])
