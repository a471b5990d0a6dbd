"""Permutations of axes, as the Transpose operator writes them.

A permutation p makes `y = Transpose(x, p)`: axis i of y is axis p[i] of x.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Perm = tuple[int, ...]


def is_identity(perm: Perm) -> bool:
    """Whether every axis stays where it is."""
    return all(axis == index for index, axis in enumerate(perm))


def inverse(perm: Perm) -> Perm:
    """What undoes a permutation."""
    found = [0] * len(perm)
    for index, axis in enumerate(perm):
        found[axis] = index
    return tuple(found)


def compose(first: Perm, second: Perm) -> Perm:
    """The one permutation that is `first` and then `second`."""
    return tuple(first[axis] for axis in second)


def without(perm: Perm, axes: Iterable[int]) -> Perm:
    """The permutation of the axes that are left where `axes` of the result are taken out."""
    gone = set(axes)
    kept = [axis for index, axis in enumerate(perm) if index not in gone]
    place = {axis: index for index, axis in enumerate(sorted(kept))}
    return tuple(place[axis] for axis in kept)


def with_fixed(perm: Perm, axes: Iterable[int]) -> Perm:
    """The permutation that `perm` becomes where `axes` are put in: those stay, the others go round them."""
    fixed = set(axes)
    rest = [axis for axis in range(len(perm) + len(fixed)) if axis not in fixed]
    moved = iter(perm)
    return tuple(axis if axis in fixed else rest[next(moved)] for axis in range(len(perm) + len(fixed)))


def widened(perm: Perm, rank: int) -> Perm:
    """The same permutation of the last axes of a tensor of more dimensions."""
    more = rank - len(perm)
    return (*range(more), *(more + axis for axis in perm))


def narrowed(perm: Perm, rank: int) -> Perm | None:
    """What a permutation does to the last `rank` axes; None where it mixes them with the others."""
    more = len(perm) - rank
    last = tuple(axis - more for axis in perm[more:])
    return None if min(last, default=0) < 0 else last


def permuted(values: Sequence[int], perm: Perm) -> list[int]:
    """Values for each axis of `Transpose(x, perm)`, in the order of the axes of x."""
    return [values[index] for index in inverse(perm)]


def keeps_order(perm: Perm, shape: Sequence[object]) -> bool:
    """Whether only axes of length 1 move past others, so that memory stays as it is; `shape` is the result's."""
    moved = [axis for axis, dim in zip(perm, shape, strict=True) if dim != 1]
    return moved == sorted(moved)
