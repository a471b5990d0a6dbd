"""What normalizations are made of: means that are kept, squares, and a division by a root."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.pattern import Computed, Match, NoMatch, Term, anything, either, op

LARGEST_SCALE = 1 << 16
"""Elements up to which a scale is made, or read to be reshaped or repeated."""


def mean_of(term: Term) -> Computed:
    """A mean over axes that are kept."""
    return op.ReduceMean(term, ..., axes=anything, keepdims=1)


def square_of(term: Term) -> Term:
    """x^2, in both spellings."""
    return either(op.Pow(term, 2), op.Mul(term, term))


def over_root(above: Term, below: Term) -> Term:
    """above / sqrt(below)."""
    root = op.Sqrt(below)
    return either(
        op.Div(above, root),
        op.Mul(above, either(op.Reciprocal(root), op.Div(1, root), op.Pow(below, -0.5))),
    )


def last_axes(match: Match, *means: Computed) -> int:
    """How many axes, at the end of the shape, the means are over.

    Raises:
        NoMatch: They are over others, or over different ones.
    """
    rank: int | None = None
    found: list[list[int]] = []
    for term in means:
        axes = match.ints(term, 1, "axes")
        if not axes:
            raise NoMatch(f"{match.node(term).label} is over all axes")
        if max(axes) >= 0:
            rank = rank if rank is not None else len(match.shape(match.node(term).inputs[0]))
            axes = [axis - rank if axis >= 0 else axis for axis in axes]
        found.append(sorted(axes))
    if found[0] != list(range(-len(found[0]), 0)) or any(axes != found[0] for axes in found):
        raise NoMatch(f"the means are over axes {found}, and those are not the last ones")
    return len(found[0])


def last_dims(match: Match, tensor: ir.Tensor, count: int) -> tuple[int, ...]:
    """The last dimensions of a tensor.

    Raises:
        NoMatch: They are not certain.
    """
    dims = match.shape(tensor)[-count:]
    known = tuple(dim for dim in dims if dim is not None)
    if len(known) != count:
        raise NoMatch(f"the last {count} dimensions of '{tensor.name}' are not certain")
    return known


def fitted(match: Match, given: ir.Tensor, dims: tuple[int, ...], rank: int) -> ir.Tensor | np.ndarray:
    """A scale or bias in just the shape `dims`, where it acts on the last axes of a tensor of this rank.

    Raises:
        NoMatch: It varies along other axes, or its shape is not certain.
    """
    shape = match.shape(given)
    if shape == dims:
        return given
    narrow = shape[-len(dims) :]
    fits = all(dim in (1, wide) for dim, wide in zip(reversed(narrow), reversed(dims), strict=False))
    if len(shape) > rank or any(dim != 1 for dim in shape[: -len(dims)]) or not fits:
        raise NoMatch(f"'{given.name}' of shape {list(shape)} is not of the shape {list(dims)} that is normalized")
    value = known_value(given)
    if value is None or math.prod(dims) > LARGEST_SCALE:
        raise NoMatch(f"'{given.name}' of shape {list(shape)} would have to be reshaped to {list(dims)}")
    wide_enough: npt.NDArray[Any] = np.broadcast_to(value.reshape(value.shape[-len(dims) :]), dims).copy()
    return wide_enough


def require_epsilon(match: Match, term: Term) -> None:
    """Refuse an epsilon that is none.

    Raises:
        NoMatch: It is negative, large or not a number.
    """
    epsilon = match.number(term)
    if not 0 <= epsilon < 1:
        raise NoMatch(f"the epsilon '{match[term].name}' is {epsilon:g}")
