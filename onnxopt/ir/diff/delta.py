"""By how much two tensors differ, a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxopt.ir import dtypes
from onnxopt.ir.digest import CHUNK, converted, digest, file_bytes
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import Array, MappedValues


@dataclass(frozen=True)
class Delta:
    """The difference of two tensors of one shape, computed in double precision."""

    elements: int
    changed: int
    """Elements whose bits differ; of two element types, whose values differ."""
    max_abs: float
    """Largest |b - a|; NaN where one is NaN and the other is not."""
    relative: float
    """||b - a|| / ||a||, Euclidean; inf where a is zero and b is not."""

    def __str__(self) -> str:
        many = f"{self.changed} of {self.elements} elements"
        return f"{many}, largest difference {self.max_abs:.3g}, relative {self.relative:.3g}"


def same_content(a: Constant, b: Constant) -> bool:
    """Whether type, shape and content are equal; costs nothing where both lie at one place."""
    one, other = a._values, b._values
    if a._export_dtype is None and b._export_dtype is None:
        if one is other:
            return True
        if one.dtype != other.dtype or tuple(one.shape) != tuple(other.shape):
            return False
        if isinstance(one, MappedValues) and isinstance(other, MappedValues):
            place = (one.file, one.offset, one.length)
            if place == (other.file, other.offset, other.length):
                return True
    return digest(a) == digest(b)


def delta(a: Constant, b: Constant) -> Delta | None:
    """How much `b` differs from `a`; None where the shapes differ or the elements are strings."""
    if a.shape != b.shape or dtypes.STRING in (a.dtype, b.dtype):
        return None
    changed, largest, squares, norm = 0, 0.0, 0.0, 0.0
    for x, y in zip(_pieces(a), _pieces(b), strict=True):
        wide: Any = np.complex128 if "c" in x.dtype.kind + y.dtype.kind else np.float64
        with np.errstate(invalid="ignore", over="ignore"):
            first, second = x.astype(wide), y.astype(wide)
            equal = (first == second) | (np.isnan(first) & np.isnan(second))  # inf - inf is NaN, and no difference
            apart = np.abs(np.where(equal, 0, second - first))
            squares += float(np.square(apart).sum())
            norm += float(np.square(np.abs(first)).sum())
        largest = float(np.maximum(largest, apart.max(initial=0.0)))
        changed += int(np.count_nonzero(_bits(x) != _bits(y) if x.dtype == y.dtype else ~equal))
    relative = 0.0 if squares == 0 else math.sqrt(squares / norm) if norm else math.inf
    return Delta(math.prod(a.shape), changed, largest, relative)


def _bits(array: Array) -> Array:
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.itemsize in (1, 2, 4, 8) else array


def _pieces(constant: Constant) -> Iterator[Array]:
    """The elements in order, as many at a time for every constant of one shape."""
    count = CHUNK // 16
    values = constant._values
    if isinstance(values, MappedValues) and values.length == values.nbytes and constant._export_dtype is None:
        for data in file_bytes(values, count * values.dtype.itemsize):
            yield np.frombuffer(data, values.dtype)
        return
    flat = converted(constant).reshape(-1)
    for start in range(0, flat.size, count):
        yield flat[start : start + count]
