"""Weights as integers or float8: symmetric, a scale for all, for each channel or block; a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import numpy.typing as npt

from onnxopt.ir.values import Array
from onnxopt.quantization.encoding import TYPES, Encoding, Integer

_PIECE = 1 << 20
"""Elements that are looked at at once: a large weight must not cost several times its size."""
_STEPS = (7.0, 7.5, 8.0, 8.5, 9.0, 9.5)
"""Of 4 bits: into how many steps the largest value of a block may be divided. From 8 on, what is largest clips to 7
where it is positive; the least mean squared error decides."""
_LOW4, _HIGH4 = -8, 7
FP8 = np.dtype(ml_dtypes.float8_e4m3fn)
_LARGEST8 = 448.0
"""Of float8 E4M3FN (Micikevicius et al. 2022, FP8 formats for deep learning, table 1)."""


class NotFinite(ValueError):
    """A weight holds NaN or infinities."""


@dataclass(frozen=True)
class Stored:
    """A weight as integers, or as float8: real = number * scale, so that 0 stays 0."""

    integers: Array
    scale: npt.NDArray[np.float32]
    """Rank 0, rank 1 along the axis, or with blocks the rank of the weight."""


def store(values: Array, kind: str, axis: int | None, block: int | None = None) -> Stored:
    """Quantize a weight symmetrically.

    Args:
        values: float16 or float32, of any shape.
        kind: int8, int4 or fp8, which is float8 E4M3FN.
        axis: Along which there are several scales; None for one scale.
        block: How many values along the axis share a scale; the last block may be shorter.

    Raises:
        NotFinite: There is NaN or infinity among the values.
    """
    integers = np.empty(values.shape, FP8 if kind == "fp8" else TYPES[kind])
    if axis is None:
        scale = _scale(
            max((float(np.max(np.abs(piece), initial=0)) for _, piece in _pieces(values, 0, 1)), default=0.0), kind
        )
        for where, piece in _pieces(values, 0, 1):
            integers[where] = _round(piece, scale, kind)
        return Stored(integers, scale)
    size = block or 1
    shape = list(values.shape)
    shape[axis] = -(-shape[axis] // size)
    scales = np.empty(shape if block else shape[axis], np.float32)
    for where, piece in _pieces(values, axis, size):
        blocked = _in_blocks(piece, axis, size)
        over = tuple(a for a in range(blocked.ndim) if a != axis) if not block else (axis + 1,)
        found = _best_scale(blocked, over, kind)
        first = (where[axis].start or 0) // size
        count = blocked.shape[axis]
        if block:
            at = (*where[:axis], slice(first, first + count))
            scales[at] = np.squeeze(found, axis + 1)
        else:
            scales[first : first + count] = found.reshape(-1)
        rounded = _round(blocked, found, kind)
        whole = rounded.reshape(*piece.shape[:axis], count * size, *piece.shape[axis + 1 :])
        integers[where] = whole[tuple(slice(length) for length in piece.shape)]
    return Stored(integers, scales)


def restore(stored: Stored, axis: int | None, block: int | None = None) -> npt.NDArray[np.float32]:
    """What DequantizeLinear makes of it."""
    numbers = stored.integers.astype(np.float32)
    if axis is None:
        return np.asarray(numbers * stored.scale)
    if block:
        wide = np.repeat(stored.scale, block, axis)[tuple(slice(length) for length in numbers.shape)]
        return np.asarray(numbers * wide)
    shape = [1] * numbers.ndim
    shape[axis] = -1
    return np.asarray(numbers * stored.scale.reshape(shape))


def _pieces(values: Array, axis: int, unit: int) -> Iterator[tuple[tuple[slice, ...], npt.NDArray[np.float32]]]:
    """Parts along an axis, of whole units, as float32, with where they lie."""
    length = values.shape[axis] if values.ndim else 1
    others = max(math.prod(values.shape) // max(length, 1), 1)
    step = max(_PIECE // others // unit, 1) * unit
    for start in range(0, length, step):
        where = (*[slice(None)] * axis, slice(start, min(start + step, length))) if values.ndim else ()
        piece = np.asarray(values[where]).astype(np.float32)
        if not np.isfinite(piece).all():
            raise NotFinite
        yield where, piece


def _in_blocks(piece: npt.NDArray[np.float32], axis: int, size: int) -> npt.NDArray[np.float32]:
    """The axis as two: blocks, and values in a block, the last one filled up with zeros."""
    missing = -piece.shape[axis] % size
    if missing:
        piece = np.pad(piece, [(0, missing if a == axis else 0) for a in range(piece.ndim)])
    return piece.reshape(*piece.shape[:axis], -1, size, *piece.shape[axis + 1 :])


def _scale(largest: npt.ArrayLike, kind: str) -> npt.NDArray[np.float32]:
    if kind == "fp8":
        found = np.asarray(largest, np.float32) / np.float32(_LARGEST8)
        return np.asarray(np.where(found > 0, np.maximum(found, np.finfo(np.float32).tiny), 1), np.float32)
    return np.asarray(Encoding.of_range(-np.asarray(largest), largest, Integer("int8", symmetric=True)).scale)


def _best_scale(blocked: npt.NDArray[np.float32], over: tuple[int, ...], kind: str) -> npt.NDArray[np.float32]:
    """A scale for all values along the axes `over`, which stay as 1."""
    largest = np.max(np.abs(blocked), axis=over, keepdims=True, initial=0)
    if kind != "int4":
        return _scale(largest, kind)
    best = error = None
    for steps in _STEPS:
        scale = np.where(largest > 0, largest / np.float32(steps), np.float32(1)).astype(np.float32)
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        lost = np.sum(np.square(_round4(blocked, scale) * scale - blocked), axis=over, keepdims=True)
        if best is None or error is None:
            best, error = scale, lost
        else:
            best, error = np.where(lost < error, scale, best), np.minimum(lost, error)
    assert best is not None
    return np.asarray(best)


def _round4(values: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.clip(np.rint(values / scale), _LOW4, _HIGH4))


def _round(values: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], kind: str) -> Array:
    if kind == "int4":
        return np.asarray(_round4(values, scale).astype(np.int8).astype(TYPES[kind]))
    if kind == "fp8":
        return np.asarray(np.clip(values / scale, -_LARGEST8, _LARGEST8).astype(FP8))
    return np.asarray(np.clip(np.rint(values / scale), -127, 127).astype(np.int8))
