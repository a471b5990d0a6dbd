"""What DequantizeLinear makes of a constant: (integers - zero points) * scales."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_ROUNDING = 2.0**-11
"""Half a unit in the last place of float16, relative."""


@dataclass(frozen=True)
class Affine:
    """A constant in integers. `scale` has the rank of `data`; each of its dimensions divides that of `data`."""

    data: Array
    """int8 or uint8, those of 4 bits and fewer too."""
    scale: Array
    """float32 or float16."""
    zero: Array | None = None
    """Of the shape of `scale` and the type of `data`; None for 0."""

    @classmethod
    def of(cls, data: Array, scale: Array, zero: Array | None, axis: int, block: int) -> Affine | None:
        """As the operator DequantizeLinear has it; None where the last block is not a whole one.

        Args:
            data: The integers.
            scale: Of rank 0; of rank 1 and as long as `axis`; or of the rank of `data`, with blocks along `axis`.
            zero: Of the shape of `scale`, or None.
            axis: Counted from the front.
            block: The attribute `block_size`; 0 where there are none.
        """
        if block and data.shape[axis] != block * scale.shape[axis]:
            return None
        if not block:
            shape = [1] * data.ndim
            if scale.size > 1:
                shape[axis] = data.shape[axis]
            scale = scale.reshape(shape)
        zero = zero.reshape(scale.shape) if zero is not None and zero.any() else None
        return cls(data, scale, zero)

    def transposed(self, order: tuple[int, ...]) -> Affine:
        """With its axes in another order."""
        zero = None if self.zero is None else self.zero.transpose(order)
        return Affine(self.data.transpose(order), self.scale.transpose(order), zero)

    def shaped(self, shape: tuple[int, ...]) -> Affine | None:
        """With axes of length 1 put in or left out; None where that is not what becomes of it."""
        if [dim for dim in shape if dim > 1] != [dim for dim in self.data.shape if dim > 1]:
            return None
        scales = iter([s for d, s in zip(self.data.shape, self.scale.shape, strict=True) if d > 1])
        scale_shape = [next(scales) if dim > 1 else 1 for dim in shape]
        zero = None if self.zero is None else self.zero.reshape(scale_shape)
        return Affine(self.data.reshape(shape), self.scale.reshape(scale_shape), zero)

    def as_rows(self) -> Affine | None:
        """As a matrix, all axes but the last one behind one another; None where scales are blocks of those."""
        data, scale = self.data, self.scale
        if data.ndim < 2 or any(s not in (1, d) for d, s in zip(data.shape[:-1], scale.shape[:-1], strict=True)):
            return None

        def rows(each: Array) -> Array:
            return np.broadcast_to(each, (*data.shape[:-1], each.shape[-1])).reshape(-1, each.shape[-1])

        return Affine(rows(data), rows(scale), None if self.zero is None else rows(self.zero))

    def taken(self, array: Array) -> Affine | None:
        """The rows of a matrix that those of `array` are, rounded to its type; None where one is not among them."""
        with np.errstate(over="ignore"):
            dense = self.dense().astype(array.dtype)
        places = {row.tobytes(): place for place, row in enumerate(dense)}
        found = [places.get(row.tobytes(), -1) for row in np.ascontiguousarray(array)]
        if -1 in found:
            return None
        zero = None if self.zero is None else self.zero[found]
        return Affine(self.data[found], self.scale[found], zero)

    @property
    def axis(self) -> int | None:
        """The one axis that scales differ along, each place having its own; 0 for one scale, None for blocks."""
        along = [axis for axis, size in enumerate(self.scale.shape) if size > 1]
        if not along:
            return 0
        whole = self.scale.shape[along[0]] == self.data.shape[along[0]]
        return along[0] if len(along) == 1 and whole else None

    def dense(self) -> Array:
        """The numbers, computed in the type of the scales."""
        return self._expanded(self.data.astype(self.scale.dtype) - self._spread(self.zero))

    def _expanded(self, numbers: Array) -> Array:
        return np.asarray(numbers * self._spread(self.scale), self.scale.dtype)

    def _spread(self, each: Array | None) -> Any:
        """Scales or zero points so that they broadcast over the data."""
        if each is None:
            return self.scale.dtype.type(0)
        each = each.astype(self.scale.dtype)
        for axis, (size, count) in enumerate(zip(self.data.shape, each.shape, strict=True)):
            if count not in (1, size):
                each = np.repeat(each, size // count, axis)
        return each

    def in_dtype(self, dtype: np.dtype[Any]) -> Affine | None:
        """With scales in the type that is computed in; None where float16 would change the numbers by more.

        float16 has few digits below 6e-5. A scale there is still taken where what it misses is less than what float16
        misses of the largest number of the constant.
        """
        if dtype == self.scale.dtype:
            return self
        with np.errstate(over="ignore"):
            scale = self.scale.astype(dtype)
        missed = np.abs(scale.astype(np.float64) - self.scale.astype(np.float64))
        steps = 255 if self.zero is not None else float(np.abs(self.data.astype(np.float64)).max())
        largest = float(np.abs(self.dense()).max())
        fits = (missed <= _ROUNDING * np.abs(self.scale)) | (missed * steps <= _ROUNDING * largest)
        return Affine(self.data, scale, self.zero) if fits.all() else None


class Known:
    """The constants that the graph has in integers, found again by their numbers."""

    def __init__(self, affines: list[Affine]) -> None:
        self._by_size: dict[int, list[tuple[Affine, Array]]] = {}
        self._by_width: dict[int, list[Affine]] = {}
        for affine in affines:
            self._by_size.setdefault(affine.data.size, []).append((affine, affine.dense()))
            if (rows := affine.as_rows()) is not None:
                self._by_width.setdefault(rows.data.shape[1], []).append(rows)

    def find(self, array: Array) -> Affine | None:
        """What `array` is in integers: some constant in its order of axes or another one, rounded to its type.

        Of matrices, the rows may be some of those of a constant, in any order: the gates of an LSTM, of one direction.
        """
        for affine, dense in self._by_size.get(array.size, ()):
            for order in itertools.permutations(range(dense.ndim)):
                turned = affine.transposed(order).shaped(array.shape)
                if turned is not None and _same(dense.transpose(order), array):
                    return turned
        if array.ndim != 2:
            return None
        candidates = (rows for rows in self._by_width.get(array.shape[1], ()) if len(rows.data) >= len(array))
        return next((found for rows in candidates if (found := rows.taken(array)) is not None), None)


def _same(dense: Array, array: Array) -> bool:
    """Whether numbers are those of an array, rounded to its type."""
    first = dense.reshape(-1)[:16].astype(array.dtype)  # most others are told apart by these
    if not np.array_equal(first, array.reshape(-1)[:16]):
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(dense.reshape(array.shape).astype(array.dtype), array))
