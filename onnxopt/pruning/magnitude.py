"""Magnitudes as scores, and the magnitude below which a share of many weights lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from onnxopt.pruning.masks import Keep
from onnxopt.pruning.patterns import Pattern, Scores, block_means, select, spread
from onnxopt.pruning.prunable import Array, Prunable

_HALF = 1 << 16


def magnitudes(target: Prunable, array: Array) -> Scores:
    """|W| as float32 [outputs, inputs * kernel]; -inf where it is zero already."""
    scores = np.abs(target.matrix(array).astype(np.float32))
    scores[scores == 0] = -np.inf
    return scores


def by_magnitude(wanted: Sequence[tuple[Prunable, float]], pattern: Pattern) -> Iterator[tuple[Prunable, Keep]]:
    """What to keep of each weight, in its shape, where each loses the share that is beside it."""
    for target, share in wanted:
        scores = magnitudes(target, target.weight.constant.read())
        yield target, target.restored(select(scores, share, pattern, target.kernel))


def by_magnitude_together(
    wanted: Sequence[tuple[Prunable, float]], pattern: Pattern
) -> Iterator[tuple[Prunable, Keep]]:
    """The same, where the weights that are to lose the same share lose it together."""
    for share in dict.fromkeys(share for _, share in wanted):
        targets = [target for target, own in wanted if own == share]
        for target, keep in zip(targets, select_together(targets, share, pattern), strict=True):
            yield target, target.restored(keep)


def select_together(targets: Sequence[Prunable], sparsity: float, pattern: Pattern) -> list[Keep]:
    """What to keep of each weight, [outputs, inputs * kernel], where the lowest magnitudes of all of them together go.

    Exactly round(sparsity * all) go, of equal ones the first; blocks by the mean of their magnitudes. The weights are
    read three times, and never all at once: magnitudes of float32 are ordered as their bits are, so that two counts of
    the upper and the lower half of the bits tell the one that is looked for.
    """

    def scores(target: Prunable) -> npt.NDArray[np.float32]:
        found = magnitudes(target, target.weight.constant.read())
        if pattern.is_block:
            return block_means(found, pattern, target.kernel).astype(np.float32)
        return np.maximum(found, 0)

    sizes = [scores(target).size if pattern.is_block else target.size for target in targets]
    count = round(sparsity * sum(sizes))
    bound, left = _bound(targets, scores, count)
    found = []
    for target in targets:
        each = scores(target)
        keep = np.ascontiguousarray(each >= bound)
        equal = np.flatnonzero(each.reshape(-1) == bound)[:left]
        keep.reshape(-1)[equal] = False
        left -= equal.size
        found.append(_of_matrix(keep, target, pattern) & (target.matrix(target.weight.constant.read()) != 0))
    return found


def _of_matrix(keep: Keep, target: Prunable, pattern: Pattern) -> Keep:
    shape = (target.outputs, target.inputs * target.kernel)
    return spread(keep, pattern, shape, target.kernel) if pattern.is_block else keep


def _bound(
    targets: Sequence[Prunable], scores: Callable[[Prunable], npt.NDArray[np.float32]], count: int
) -> tuple[np.float32, int]:
    """The count-th lowest score, and how many of those that equal it are among the lowest."""
    if count <= 0:
        return np.float32(0), 0
    upper, lower = np.zeros(_HALF, np.int64), np.zeros(_HALF, np.int64)
    for target in targets:
        upper += np.bincount(scores(target).view(np.uint32).reshape(-1) >> 16, minlength=_HALF)
    high, left = _place(upper, count)
    for target in targets:
        bits = scores(target).view(np.uint32).reshape(-1)
        lower += np.bincount(bits[bits >> 16 == high] & (_HALF - 1), minlength=_HALF)
    low, left = _place(lower, left)
    return np.uint32(high << 16 | low).view(np.float32), left


def _place(counts: npt.NDArray[np.int64], count: int) -> tuple[int, int]:
    """In which bin the count-th lies, counted from 1, and the how-manieth it is there."""
    sums = np.cumsum(counts)
    place = int(np.searchsorted(sums, count))
    return place, count - int(sums[place] - counts[place])
