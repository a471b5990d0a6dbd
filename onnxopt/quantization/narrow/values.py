"""Weights in a narrow type that are converted when they are asked for, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.ir.values import Array, SharedValues, read_only

_EAGER = 1 << 12
"""Bytes up to which an array is converted at once and the wide one forgotten."""


class NarrowValues(SharedValues):
    """The numbers of another constant, rounded to the nearest of a type each time they are read."""

    def __init__(self, source: ir.Constant, dtype: np.dtype[Any]) -> None:
        self._source = source.copy()  # what is there now, whatever becomes of the constant
        self.dtype, self.shape = dtype, tuple(source.shape)
        self.nbytes = int(np.prod(self.shape)) * dtype.itemsize

    @property
    def array(self) -> Array:  # type: ignore[override]
        """The numbers, an array of the caller's own."""
        return rounded(self._source.read(), self.dtype)

    def read(self) -> Array:
        """The numbers."""
        return read_only(self.array)


def rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """To the nearest number of a type, and beyond its ends to infinity."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype)


def narrow_values(source: ir.Constant, dtype: np.dtype[Any]) -> Array | NarrowValues:
    """Of a constant; small ones as an array."""
    return rounded(source.read(), dtype) if source.nbytes <= _EAGER else NarrowValues(source, dtype)
