"""Weights as places in a table of few values, found by k-means in one dimension; a piece at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt.ir.values import Array
from onnxopt.quantization.blocks import NotFinite

_PIECE = 1 << 20
"""Elements that are looked at at once."""
_BINS = 1 << 14
"""Of the histogram that stands for the values."""
_COARSE = 1 << 8
"""Of the one that the density is told by: with more bins than values it would be but noise."""
_ROUNDS = 60
"""Of Lloyd's iteration, at most."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Palette:
    """real = table[index]."""

    table: Array
    """Ascending, of the type of the weight; at most 2^bits values."""
    indices: npt.NDArray[np.uint8]
    """Of the shape of the weight."""
    is_exact: bool
    """Whether the weight held no more values than that."""


def palette(values: Array, bits: int) -> Palette:
    """The table of at most 2^bits values that is near a weight in mean square, and for each value its place there.

    Lloyd's k-means (1957) on a histogram, started where the cube root of the density is divided evenly, which is best
    for many levels (Panter and Dite, 1951). A weight with no more values than that keeps them all; one with zeros has
    0 in its table, and they stay 0.

    Raises:
        NotFinite: There is NaN or infinity among the values.
    """
    flat = values.reshape(-1)
    few = _few(flat, 1 << bits)
    table = few if few is not None else _lloyd(flat, 1 << bits)
    ends = (table[1:].astype(np.float64) + table[:-1].astype(np.float64)) / 2
    indices = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE].astype(np.float32)
        found = np.searchsorted(ends, piece)
        zero = np.searchsorted(table, 0)
        if zero < table.size and table[zero] == 0:
            found[piece == 0] = zero
        indices[start : start + _PIECE] = found
    return Palette(table, indices.reshape(values.shape), few is not None)


def _few(flat: Array, most: int) -> Array | None:
    """All values, where there are so few; None where there are more."""
    seen = np.empty(0, np.float32)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE].astype(np.float32)
        if not np.isfinite(piece).all():
            raise NotFinite
        if seen.size <= most:
            seen = np.unique(np.concatenate([seen, np.unique(piece) + np.float32(0)]))  # -0.0 and 0.0 are one
    return seen.astype(flat.dtype) if 0 < seen.size <= most else None


def _lloyd(flat: Array, count: int) -> Array:
    counts, sums, has_zeros = _histogram(flat)
    coarse = counts.reshape(_COARSE, -1).sum(axis=1)
    places = np.flatnonzero(counts)
    counts, sums = counts[places], sums[places]
    means = sums / counts
    weights, totals = np.concatenate([[0.0], np.cumsum(counts)]), np.concatenate([[0.0], np.cumsum(sums)])
    free = count - has_zeros
    spread = np.concatenate([[0.0], np.cumsum(np.cbrt(coarse))])
    edges = np.linspace(means[0], means[-1], spread.size)
    table = np.unique(np.interp((np.arange(free) + 0.5) / free * spread[-1], spread, edges))
    for _ in range(_ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(means, (table[1:] + table[:-1]) / 2), [means.size]])
        inside = weights[ends[1:]] - weights[ends[:-1]]
        moved = np.where(inside > 0, (totals[ends[1:]] - totals[ends[:-1]]) / np.maximum(inside, 1), table)
        if np.allclose(moved, table, rtol=0, atol=1e-9 * (means[-1] - means[0])):
            break
        table = moved
    found = np.unique(np.append(table, 0.0) if has_zeros else table)
    return np.unique(found.astype(np.float32)).astype(flat.dtype)


def _histogram(flat: Array) -> tuple[Floats, Floats, bool]:
    """Counts and sums of the values in each bin, zeros apart, and whether there are zeros."""
    pieces = [flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE)]
    low = min(float(np.min(piece.astype(np.float32))) for piece in pieces)
    high = max(float(np.max(piece.astype(np.float32))) for piece in pieces)
    counts, sums, has_zeros = np.zeros(_BINS), np.zeros(_BINS), False
    for piece in pieces:
        numbers = piece.astype(np.float64)
        nonzero = numbers[numbers != 0]
        has_zeros |= nonzero.size < numbers.size
        bins = np.minimum((nonzero - low) * (_BINS / (high - low)), _BINS - 1).astype(np.int64)
        counts += np.bincount(bins, minlength=_BINS)
        sums += np.bincount(bins, nonzero, minlength=_BINS)
    return counts, sums, has_zeros
