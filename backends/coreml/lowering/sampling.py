"""Numbers of a tensor between its places: by rows that are gathered and weighted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.numbers import like

Weighted = tuple[Any, Any | None]
"""Places along one axis, whole numbers in floats, and their weights, None for 1; both [batch, points]."""
Bounded = Callable[[Any, int], tuple[Any, Any | None]]
"""Of places along an axis, some beyond it, and its size: the places within, and a factor that is 0 for what is
nothing, or None."""
_CUBIC = -0.75
"""The coefficient of R. G. Keys, "Cubic convolution interpolation": the one that GridSample has."""


def sampled(x: Any, axes: Sequence[Sequence[Weighted]], bounded: Bounded, images: Any | None = None) -> Any:
    """The weighted sums of what is at places, [batch, points, channels].

    Args:
        x: [batch, channels, *sizes], of a fixed shape.
        axes: For each of the sizes, the neighbours of every point along it.
        bounded: What becomes of places beyond an axis.
        images: Which of the batch the points are of, int32; one after the other where it is not given.
    """
    batch, channels, *sizes = (int(size) for size in x.shape)
    flat = mb.reshape(x=x, shape=[batch, channels, math.prod(sizes)])
    rows = mb.reshape(x=mb.transpose(x=flat, perm=[0, 2, 1]), shape=[batch * math.prod(sizes), channels])
    given, points = (int(size) for size in axes[0][0][0].shape)
    images = mb.const(val=np.arange(batch, dtype=np.int32)) if images is None else images
    first = mb.expand_dims(x=mb.mul(x=images, y=np.int32(math.prod(sizes))), axes=[1])
    placed = [[_placed(near, size, bounded) for near in nears] for nears, size in zip(axes, sizes, strict=True)]
    total = None
    for corner in itertools.product(*placed):
        row, weight = first, None
        for axis, (place, share) in enumerate(corner):
            row = mb.add(x=row, y=mb.mul(x=place, y=np.int32(math.prod(sizes[axis + 1 :]))))
            weight = _product(weight, share)
        taken = mb.gather(x=rows, indices=mb.reshape(x=row, shape=[given * points]), axis=0)
        part = mb.reshape(x=taken, shape=[given, points, channels])
        part = part if weight is None else mb.mul(x=part, y=mb.expand_dims(x=weight, axes=[2]))
        total = part if total is None else mb.add(x=total, y=part)
    return total


def _placed(near: Weighted, size: int, bounded: Bounded) -> Weighted:
    place, weight = near
    inside, factor = bounded(place, size)
    return mb.cast(x=inside, dtype="int32"), _product(weight, factor)


def _product(one: Any | None, other: Any | None) -> Any | None:
    if one is None or other is None:
        return other if one is None else one
    return mb.mul(x=one, y=other)


def nearest(point: Any) -> list[Weighted]:
    """The nearest place; of two, the even one."""
    return [(mb.round(x=point), None)]


def linear(point: Any) -> list[Weighted]:
    """The two places around a point."""
    low = mb.floor(x=point)
    share = mb.sub(x=point, y=low)
    one = like(point, 1)
    return [(low, mb.sub(x=one, y=share)), (mb.add(x=low, y=one), share)]


def cubic(point: Any) -> list[Weighted]:
    """The four places around a point."""
    low = mb.floor(x=point)
    share = mb.sub(x=point, y=low)
    found = []
    for offset in (-1, 0, 1, 2):
        distance = mb.abs(x=mb.sub(x=share, y=like(point, offset)))
        near = [_CUBIC + 2, -(_CUBIC + 3), 0, 1]
        far = [_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC]
        weight = _polynomial(distance, near if offset in (0, 1) else far)
        found.append((mb.add(x=low, y=like(point, offset)), weight))
    return found


def _polynomial(x: Any, factors: Sequence[float]) -> Any:
    """By Horner's rule, the highest power first."""
    found = mb.mul(x=x, y=like(x, factors[0]))
    for factor in factors[1:-1]:
        found = mb.mul(x=mb.add(x=found, y=like(x, factor)), y=x)
    return mb.add(x=found, y=like(x, factors[-1]))


def zeros(place: Any, size: int) -> tuple[Any, Any]:
    """Nothing is beyond."""
    inside = clamped(place, size)
    return inside, mb.cast(x=mb.equal(x=inside, y=place), dtype=types.builtin_to_string(inside.dtype))


def border(place: Any, size: int) -> tuple[Any, None]:
    """The last element goes on."""
    return clamped(place, size), None


def clamped(place: Any, size: int) -> Any:
    """Brought to the ends of an axis."""
    return mb.minimum(x=mb.maximum(x=place, y=like(place, 0)), y=like(place, size - 1))


def reflected(place: Any, low: float, high: float) -> Any:
    """Brought between two borders by reflection at them, as often as need be."""
    width = like(place, high - low)
    turned = mb.mod(x=mb.sub(x=place, y=like(place, low)), y=like(place, 2 * (high - low)))
    back = mb.sub(x=mb.add(x=width, y=width), y=turned)
    return mb.add(x=mb.minimum(x=turned, y=back), y=like(place, low))
