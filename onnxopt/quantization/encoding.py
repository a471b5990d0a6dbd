"""Encodings: how real values become integers and back, as QuantizeLinear and DequantizeLinear of ONNX define it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TYPES: dict[str, np.dtype[Any]] = {
    "int4": np.dtype(ml_dtypes.int4),
    "uint4": np.dtype(ml_dtypes.uint4),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "int16": np.dtype(np.int16),
    "uint16": np.dtype(np.uint16),
    "int32": np.dtype(np.int32),
}
"""The integer types that ONNX quantizes to, by name."""
_SMALLEST = float(np.finfo(np.float32).tiny)
"""Of a scale, as a normal float32: a scale of 0 would divide by 0."""


@dataclass(frozen=True)
class Integer:
    """An integer type, and whether real zero has to be its integer zero."""

    name: str
    """A key of `TYPES`."""
    symmetric: bool
    """The zero point is 0 in a signed type, and the middle in an unsigned one; the range is [-a, a]."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy has it."""
        return TYPES[self.name]

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer in use.

        A symmetric signed type leaves out its smallest, so that -a and a are both met: [-127, 127] (TensorRT and
        onnxruntime do the same for weights).
        """
        low, high = _extent(self.dtype)
        return (-high if self.symmetric and low < 0 else low), high


@dataclass(frozen=True)
class Encoding:
    """How one tensor is stored as integers: q = saturate(round(x / scale) + zero_point), x = (q - zero_point) scale.

    Rounding is to nearest even (ONNX, QuantizeLinear). `scale` is float32 and `zero_point` of the integer type; both
    are of rank 0, or of rank 1 along `axis`, or in blocks of `block` along `axis` with the rank of the tensor.
    """

    integer: Integer
    scale: Array
    zero_point: Array
    axis: int | None = None
    block: int | None = None

    @classmethod
    def of_range(
        cls,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        integer: Integer,
        axis: int | None = None,
        block: int | None = None,
    ) -> Encoding:
        """The encoding of the real values from `low` to `high`: scalars, one a channel, or one a block.

        Zero is always among them, since padding and Relu need it exactly; an asymmetric zero point is rounded, and the
        scale covers the range from where it came to lie.
        """
        least, most = integer.limits
        low64 = np.minimum(np.asarray(low, np.float64), 0.0)
        high64 = np.maximum(np.asarray(high, np.float64), 0.0)
        if integer.symmetric:
            middle = 0 if least < 0 else (most + 1) // 2
            steps = min(most - middle, middle - least) or 1
            scale = np.maximum(-low64, high64) / steps
            zero = np.full(scale.shape, middle)
        else:
            scale = (high64 - low64) / (most - least)
            zero = np.clip(np.rint(least - low64 / np.maximum(scale, _SMALLEST)), least, most)
        scale = np.where(scale < _SMALLEST, 1.0, scale)  # nothing but zeros: any scale is exact
        return cls(integer, scale.astype(np.float32), zero.astype(integer.dtype), axis, block)

    def quantize(self, values: npt.ArrayLike) -> Array:
        """Integers of `integer.dtype`, of the shape of `values`; what lies outside saturates at the type's own ends."""
        real = np.asarray(values)
        scale, zero = self._along(real.ndim, real.shape)
        least, most = _extent(self.integer.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(real.astype(np.float32) / scale).astype(np.float64) + zero
        return np.asarray(np.clip(steps, least, most).astype(self.integer.dtype))

    def dequantize(self, integers: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Real values, float32, of integers that `quantize` gave."""
        stored = np.asarray(integers)
        scale, zero = self._along(stored.ndim, stored.shape)
        return np.asarray((stored.astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)

    def round_trip(self, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """What is left of real values once they were stored: float32, of the same shape."""
        return self.dequantize(self.quantize(values))

    def _along(self, rank: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Scale and zero point, shaped to broadcast with a tensor."""
        zero = self.zero_point.astype(np.float64)
        if self.axis is None:
            return self.scale, zero
        axis = self.axis % rank
        if self.block is not None:
            return tuple(np.repeat(a, self.block, axis).take(range(shape[axis]), axis) for a in (self.scale, zero))  # type: ignore[return-value]
        wanted = [1] * rank
        wanted[axis] = -1
        return self.scale.reshape(wanted), zero.reshape(wanted)


def _extent(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]  # as ml_dtypes ships it
    return int(info.min), int(info.max)
