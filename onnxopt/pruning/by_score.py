"""The weights with the lowest scores of several layers, chosen together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxopt.pruning.masks import Keep
from onnxopt.pruning.patterns import Pattern, Scores, block_means, lowest, spread
from onnxopt.pruning.prunable import Prunable


def select_together(scored: Sequence[tuple[Prunable, Scores]], share: float, pattern: Pattern) -> list[Keep]:
    """What to keep of each weight, [outputs, inputs * kernel], where that share of the lowest scores of all goes.

    Args:
        scored: The weights, and their scores, [outputs, inputs * kernel]; -inf where one is zero already.
        share: Of zeros.
        pattern: Anywhere, or blocks by the mean of their scores.
    """
    if not scored:
        return []
    parts = [block_means(one, pattern, target.kernel) if pattern.is_block else one for target, one in scored]
    keep = lowest(np.concatenate([part.reshape(-1) for part in parts]), share)
    ends = np.cumsum([part.size for part in parts])[:-1]
    found = []
    for (target, scores), part, flat in zip(scored, parts, np.split(keep, ends), strict=True):
        kept = flat.reshape(part.shape)
        if pattern.is_block:
            kept = spread(kept, pattern, (scores.shape[0], scores.shape[1]), target.kernel)
        found.append(kept & ~np.isneginf(scores))
    return found
