"""The forms that a constant can have on disk, and what each costs.

Formats: coremltools' documentation of the operations `constexpr_*` (iOS 16 and iOS 18).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from coremltools import target as targets
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.types.type_mapping import string_to_nptype

from onnxopt.backends.coreml.encoders.affine import Affine

Array = npt.NDArray[Any]
_PART = 128
"""Bytes that a part of the weight file costs beside its data: its record, and its alignment to 64 bytes."""
_OPERATION = 160
"""Bytes that an operation of the program costs, about."""
OLDEST, NEWEST = targets.iOS16, targets.iOS18
"""The first target that stores constants as anything but what they are, and the one since which nothing was added."""


@dataclass(frozen=True)
class Form:
    """One way to store a constant."""

    kind: str
    """For people: `sparse`, `4-bit palette`, `int8`."""
    since: Any
    """The first target that has it."""
    payload: float
    """Bytes of its data."""
    parts: int
    """Of the weight file."""
    operations: int
    build: Callable[..., Any]
    """Makes the Var: takes `name` and `before_op`."""

    @property
    def cost(self) -> int:
        """Bytes, all in all."""
        return int(np.ceil(self.payload)) + _PART * self.parts + _OPERATION * self.operations


def dense(array: Array) -> Form:
    """As it is: nothing to build."""
    return Form("dense", targets.iOS15, array.nbytes, 1, 1, lambda **_: None)


def sparse(array: Array, target: Any) -> Form:
    """A bit for each number, and those that are not zero."""
    mask = array != 0
    numbers = array[mask]

    def build(**place: Any) -> Any:
        return _from_mask(numbers, mask, target, **place)

    return Form("sparse", OLDEST, numbers.nbytes + array.size / 8, 2, 1, build)


def _from_mask(numbers: Any, mask: Array, target: Any, **place: Any) -> Any:
    if target < NEWEST:
        packed = np.packbits(mask.reshape(-1), bitorder="little")
        return mb.constexpr_sparse_to_dense(
            nonzero_data=numbers, mask=packed, shape=np.array(mask.shape, np.uint32), **place
        )
    return mb.constexpr_sparse_to_dense(nonzero_data=numbers, mask=mask.astype(types.np_uint1_dtype), **place)


def _bits(count: int, choices: tuple[int, ...]) -> int | None:
    return next((bits for bits in choices if count <= 1 << bits), None)


def palette(array: Array, target: Any) -> Form | None:
    """A table of at most 256 numbers, and places in it; None where there are more numbers."""
    table, places = np.unique(array, return_inverse=True)
    bits = _bits(table.size, (1, 2, 3, 4, 6, 8) if target >= NEWEST else (1, 2, 4, 6, 8))
    if bits is None:
        return None
    filled = np.append(table, np.zeros((1 << bits) - table.size, table.dtype))
    indices = places.reshape(array.shape).astype(np.uint8)

    def build(**place: Any) -> Any:
        if target < NEWEST:
            shape = np.array(array.shape, np.uint32)
            return mb.constexpr_lut_to_dense(indices=packed(indices, bits), lut=filled, shape=shape, **place)
        lut = filled.reshape(*[1] * array.ndim, -1, 1)
        return mb.constexpr_lut_to_dense(indices=indices.astype(string_to_nptype(f"uint{bits}")), lut=lut, **place)

    payload = filled.nbytes + array.size * bits / 8
    return Form(f"{bits}-bit palette", targets.iOS18 if bits == 3 else OLDEST, payload, 2, 1, build)


def palettes(array: Array) -> Form | None:
    """A table for each place of the first axis; None where one has more than 64 numbers."""
    found = [np.unique(row, return_inverse=True) for row in array]
    bits = _bits(max(table.size for table, _ in found), (1, 2, 3, 4, 6))
    if bits is None:
        return None
    tables = np.zeros((array.shape[0], 1 << bits), array.dtype)
    for row, (table, _) in zip(tables, found, strict=True):
        row[: table.size] = table
    indices = np.stack([places.reshape(array.shape[1:]) for _, places in found])

    def build(**place: Any) -> Any:
        lut = tables.reshape(array.shape[0], *[1] * (array.ndim - 1), -1, 1)
        return mb.constexpr_lut_to_dense(indices=indices.astype(string_to_nptype(f"uint{bits}")), lut=lut, **place)

    return Form(f"{bits}-bit palettes", NEWEST, tables.nbytes + array.size * bits / 8, 2, 1, build)


def sparse_palette(array: Array) -> Form | None:
    """A bit for each number, and for those that are not zero a place in a table."""
    mask = array != 0
    table, places = np.unique(array[mask], return_inverse=True)
    bits = _bits(table.size, (1, 2, 3, 4, 6, 8))
    if bits is None or not table.size:
        return None
    filled = np.append(table, np.zeros((1 << bits) - table.size, table.dtype))

    def build(**place: Any) -> Any:
        same, numbers = mb.constexpr_lut_to_sparse(
            indices_mask=mask.astype(types.np_uint1_dtype),
            indices_nonzero_data=places.reshape(-1).astype(string_to_nptype(f"uint{bits}")),
            lut=filled.reshape(*[1] * array.ndim, -1, 1),
            before_op=place["before_op"],
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=numbers, mask=same, **place)

    payload = filled.nbytes + places.size * bits / 8 + array.size / 8
    return Form(f"sparse {bits}-bit palette", NEWEST, payload, 3, 2, build)


def integers(affine: Affine) -> Form | None:
    """Eight bits, a scale for all or for each place of one axis; None for blocks."""
    axis = affine.axis
    if axis is None:
        return None
    scale = affine.scale.reshape(-1)
    zero = np.zeros(scale.shape, affine.data.dtype) if affine.zero is None else affine.zero.reshape(-1)

    def build(**place: Any) -> Any:
        one = scale.size == 1
        return mb.constexpr_affine_dequantize(
            quantized_data=affine.data,
            zero_point=zero[0] if one else zero,
            scale=scale[0] if one else scale,
            axis=np.int32(axis),
            **place,
        )

    payload = affine.data.nbytes + scale.nbytes + zero.nbytes
    return Form(str(affine.data.dtype), OLDEST, payload, 1 if scale.size == 1 else 3, 1, build)


def blocks(affine: Affine) -> Form:
    """Four or eight bits, a scale for each block."""
    dtype = _narrowest(affine)

    def build(**place: Any) -> Any:
        return mb.constexpr_blockwise_shift_scale(
            data=affine.data.astype(string_to_nptype(dtype)), **_scales(affine, dtype), **place
        )

    payload = affine.data.size * _width(dtype) + _scale_bytes(affine, dtype)
    return Form(dtype, NEWEST, payload, 2 + (affine.zero is not None), 1, build)


def sparse_blocks(affine: Affine) -> Form | None:
    """A bit for each number, and integers for those that are not zero; None where all are zero."""
    mask = affine.data != _spread_zero(affine)
    dtype = _narrowest(affine)
    numbers = affine.data[mask]
    if not numbers.size:
        return None

    def build(**place: Any) -> Any:
        same, real = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=mask.astype(types.np_uint1_dtype),
            nonzero_data=numbers.astype(string_to_nptype(dtype)),
            **_scales(affine, dtype),
            before_op=place["before_op"],
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=real, mask=same, **place)

    payload = numbers.size * _width(dtype) + mask.size / 8 + _scale_bytes(affine, dtype)
    return Form(f"sparse {dtype}", NEWEST, payload, 3 + (affine.zero is not None), 2, build)


def _spread_zero(affine: Affine) -> Any:
    if affine.zero is None:
        return affine.data.dtype.type(0)
    zero = affine.zero
    for axis, (size, count) in enumerate(zip(affine.data.shape, zero.shape, strict=True)):
        zero = zero if count in (1, size) else np.repeat(zero, size // count, axis)
    return zero


def _narrowest(affine: Affine) -> str:
    """The element type with the fewest bits that holds data and zero points."""
    parts = [affine.data] if affine.zero is None else [affine.data, affine.zero]
    low, high = min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)
    if affine.data.dtype == np.int8:
        return "int4" if low >= -8 and high <= 7 else "int8"
    return "uint4" if high <= 15 else "uint8"


def _width(dtype: str) -> float:
    return 0.5 if dtype.endswith("4") else 1.0


def _scale_bytes(affine: Affine, dtype: str) -> float:
    return affine.scale.nbytes + (0 if affine.zero is None else affine.zero.size * _width(dtype))


def _scales(affine: Affine, dtype: str) -> dict[str, Any]:
    zero = {} if affine.zero is None else {"offset": affine.zero.astype(string_to_nptype(dtype))}
    return {"scale": affine.scale, **zero}


def packed(indices: Array, bits: int) -> Array:
    """Numbers of so many bits behind one another, lowest bit first, as iOS 16 has them."""
    spread = np.unpackbits(indices.reshape(-1, 1), axis=1, bitorder="little")[:, :bits]
    return np.packbits(spread.reshape(-1), bitorder="little")
