"""Where zeros may lie: anywhere, so many of each few inputs, or in blocks; and which elements are to go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.pruning.masks import Keep

Scores = npt.NDArray[np.floating[Any]]
_TEXT = re.compile(r"(?P<kept>[0-9]{1,3}):(?P<of>[0-9]{1,3})|(?P<outputs>[0-9]{1,4})x(?P<inputs>[0-9]{1,4})", re.ASCII)


@dataclass(frozen=True)
class Pattern:
    """`unstructured`, `N:M` or `RxC`."""

    kept: int = 0
    """Of N:M: at most so many, N, of M neighbouring inputs are other than zero, for each output and place of a kernel
    (TensorRT and NVIDIA's sparse tensor cores take 2:4)."""
    of: int = 0
    """M; 0 where the pattern is none of N:M."""
    outputs: int = 1
    """Of blocks: R outputs and C inputs, at one place of a kernel, are kept or zero together."""
    inputs: int = 1

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read `unstructured`, `2:4` or `4x1`.

        Raises:
            ValueError: It is none of these.
        """
        if text == "unstructured":
            return cls()
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"the pattern '{text}' is none: give unstructured, N:M as in 2:4, or a block as in 4x1")
        if match["of"]:
            kept, of = int(match["kept"]), int(match["of"])
            if not 0 < kept < of:
                raise ValueError(f"the pattern {text} keeps {kept} of {of}: give fewer than {of}, and at least 1")
            return cls(kept, of)
        outputs, inputs = int(match["outputs"]), int(match["inputs"])
        if outputs * inputs < 2:
            raise ValueError(f"a block of {text} is a single weight or none: give unstructured, or a larger block")
        return cls(outputs=outputs, inputs=inputs)

    def __str__(self) -> str:
        if self.of:
            return f"{self.kept}:{self.of}"
        return f"{self.outputs}x{self.inputs}" if self.is_block else "unstructured"

    @property
    def is_block(self) -> bool:
        """Whether elements are kept or zero in blocks."""
        return self.outputs * self.inputs > 1

    @property
    def sparsity(self) -> float | None:
        """The share of zeros that the pattern itself says, 0 to 1; None where it says none."""
        return 1 - self.kept / self.of if self.of else None

    def obstacle(self, outputs: int, inputs: int) -> str | None:
        """Why a layer of so many outputs, and inputs a group, cannot have the pattern; None where it can."""
        if self.of and inputs % self.of:
            return f"its {inputs} inputs a group are no multiple of {self.of}"
        if self.outputs > outputs or self.inputs > inputs:
            return f"its {outputs} outputs and {inputs} inputs a group are less than a block of {self}"
        return None


def select(scores: Scores, sparsity: float, pattern: Pattern | None = None, kernel: int = 1) -> Keep:
    """Which elements to keep: those of the highest scores, as far as the pattern lets.

    Exactly round(sparsity * size) elements go (so many blocks, where there are blocks; M - N of each M for N:M, where
    `sparsity` says nothing). Of equal scores the first go. A score of -inf is an element that is zero already: it goes
    in any case.

    Args:
        scores: Importance of [outputs, inputs * kernel], as a layer's weights flattened: inputs before places.
        sparsity: Share of elements to be zero, 0 to 1.
        pattern: Where zeros may lie; none: anywhere.
        kernel: Places of the kernel: 9 for 3x3.

    Returns:
        Whether each element is kept, of the shape of `scores`.

    Raises:
        ValueError: The layer cannot have the pattern, as `Pattern.obstacle` tells.
    """
    pattern = pattern or Pattern()
    outputs, columns = scores.shape
    if reason := pattern.obstacle(outputs, columns // kernel):
        raise ValueError(reason)
    if pattern.of:
        ranks = _ranks(scores.reshape(outputs, -1, pattern.of, kernel))
        keep = (ranks >= pattern.of - pattern.kept).reshape(scores.shape)
    elif pattern.is_block:
        means = block_means(scores, pattern, kernel)
        keep = spread(lowest(means, sparsity), pattern, (outputs, columns), kernel)
    else:
        keep = lowest(scores, sparsity)
    kept: Keep = keep & (scores != -np.inf)
    return kept


def _ranks(scores: Scores) -> npt.NDArray[np.int16]:
    """How many of a group, along axis 2, are lower than each, or equal and before it; every pair is compared once,
    which is much faster than to sort very many very small groups."""
    scores = np.where(np.isnan(scores), np.inf, scores)
    ranks = np.zeros(scores.shape, np.int16)
    for one in range(scores.shape[2]):
        for other in range(one + 1, scores.shape[2]):
            is_lower = scores[:, :, other] < scores[:, :, one]
            ranks[:, :, one] += is_lower
            ranks[:, :, other] += ~is_lower
    return ranks


def lowest(scores: Scores, share: float) -> Keep:
    """False for the lowest round(share * size) scores, the first of equal ones; of the shape of the scores."""
    flat = scores.reshape(-1)
    count = min(max(round(share * flat.size), 0), flat.size)
    keep = np.ones(flat.size, bool)
    if count:
        bound = np.partition(flat, count - 1)[count - 1]
        below = flat < bound
        keep[below] = False
        keep[np.flatnonzero(flat == bound)[: count - int(np.count_nonzero(below))]] = False
    return keep.reshape(scores.shape)


def block_means(scores: Scores, pattern: Pattern, kernel: int = 1) -> Scores:
    """The mean score of each block, [rows of blocks, columns of blocks, kernel]; those at the edges may be smaller."""
    cube = scores.reshape(scores.shape[0], -1, kernel).astype(np.float64)
    cube = np.where(np.isneginf(cube), 0, cube)
    rows = np.arange(0, cube.shape[0], pattern.outputs)
    columns = np.arange(0, cube.shape[1], pattern.inputs)
    sums = np.add.reduceat(np.add.reduceat(cube, rows, axis=0), columns, axis=1)
    heights = np.diff([*rows, cube.shape[0]])[:, np.newaxis, np.newaxis]
    widths = np.diff([*columns, cube.shape[1]])[np.newaxis, :, np.newaxis]
    means: Scores = sums / (heights * widths)
    return means


def spread(keep: Keep, pattern: Pattern, shape: tuple[int, int], kernel: int = 1) -> Keep:
    """What is kept of blocks, [rows of blocks, columns of blocks, kernel], as elements of this shape."""
    tall = np.repeat(keep, pattern.outputs, axis=0)[: shape[0]]
    wide = np.repeat(tall, pattern.inputs, axis=1)[:, : shape[1] // kernel]
    return wide.reshape(shape)
