"""Least squares for the rows of a matrix, each with zeros of its own that stay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keep = npt.NDArray[np.bool_]

_SMALL = 96
"""Unknowns up to which many systems are solved at once, with ones on the diagonal for what is not sought."""
_AT_ONCE = 64_000_000
"""Bytes of systems that are solved together."""
_FLOOR = 1e-9
"""Of the largest moment, for what is always zero: it stays as it is."""


def solve_rows(moments: Floats, products: Floats, start: Floats, keep: Keep, ridge: float) -> Floats:
    """The rows w that make w M w^T - 2 c w^T + ridge (w - start) D (w - start)^T least, D the diagonal of M.

    Args:
        moments: M, sums of x x^T: [group, n, n].
        products: c, sums of y x: [group, rows, n].
        start: The rows as they are: [group, rows, n].
        keep: Which elements are sought; the others stay zero.
        ridge: How much the rows are drawn to what they are, in parts of each moment, so that units do not matter.

    Returns:
        [group, rows, n].
    """
    left = products - np.einsum("grn,gnm->grm", start, moments, optimize=True)
    diagonal = np.einsum("gnn->gn", moments)
    floor = _FLOOR * diagonal.max(axis=-1, keepdims=True, initial=0.0)
    drawn = np.maximum(ridge * diagonal, np.where(floor > 0, floor, 1.0))
    solve = _solve_small if moments.shape[-1] <= _SMALL else _solve_by_support
    return np.where(keep, start + solve(moments, left, drawn, keep), 0.0)


def _solve_small(moments: Floats, left: Floats, drawn: Floats, keep: Keep) -> Floats:
    """All rows as systems of one size, so many at a time."""
    groups, rows, size = left.shape
    found = np.empty((groups * rows, size))
    flat_keep, flat_left = keep.reshape(-1, size), left.reshape(-1, size)
    step = max(1, _AT_ONCE // (8 * size * size))
    eye = np.arange(size)
    for first in range(0, groups * rows, step):
        part = slice(first, min(first + step, groups * rows))
        group = np.arange(part.start, part.stop) // rows
        kept = flat_keep[part]
        systems = moments[group] * (kept[:, :, np.newaxis] & kept[:, np.newaxis, :])
        systems[:, eye, eye] += np.where(kept, drawn[group], 1.0)
        found[part] = np.linalg.solve(systems, (flat_left[part] * kept)[:, :, np.newaxis])[:, :, 0]
    return found.reshape(left.shape)


def _solve_by_support(moments: Floats, left: Floats, drawn: Floats, keep: Keep) -> Floats:
    """The rows that seek the same elements share one system, which has no others."""
    found = np.zeros_like(left)
    for group, support, rows in _supports(keep):
        system = moments[group][np.ix_(support, support)]
        system[np.diag_indices_from(system)] += drawn[group, support]
        found[group][np.ix_(rows, support)] = np.linalg.solve(system, left[group][np.ix_(rows, support)].T).T
    return found


def _supports(keep: Keep) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Group, elements, and the rows that seek them."""
    for group, kept in enumerate(keep):
        by_support: dict[bytes, list[int]] = {}
        for row, packed in enumerate(np.packbits(kept, axis=-1)):
            by_support.setdefault(packed.tobytes(), []).append(row)
        for rows in by_support.values():
            support = np.flatnonzero(kept[rows[0]])
            if support.size:
                yield group, support, np.asarray(rows, np.intp)
