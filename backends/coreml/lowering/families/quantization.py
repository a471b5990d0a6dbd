"""Integers that stand for real numbers: constants are stored as them, and activations of 8 bits are `mb.quantize`."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from coremltools import target as targets
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.encoders.affine import Affine
from onnxopt.backends.coreml.lowering.numbers import is_float, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.ir import dtypes

_EIGHT = (np.dtype(np.int8), np.dtype(np.uint8))
_OTHERS = {name: np.dtype(getattr(ml_dtypes, name)) for name in ("int4", "uint4")}
_RANGES = {_OTHERS["int4"]: (-8, 7), _OTHERS["uint4"]: (0, 15)}
_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
_AXIS = 1
"""The default of the attribute `axis`."""


@lowers("DequantizeLinear")
def dequantize_linear(site: Site) -> Any:
    """(x - zero point) * scale. Of a constant: its numbers, and a record of the integers that they are stored as."""
    x, rank = site.value(0), site.rank(0)
    scale, zero = site.value(1), _zero(site)
    block = int(site.attr("block_size", 0) or 0)
    axis = _along(site, rank, scale, block)
    _require_floats(site, "output_dtype", scale)
    if isinstance(x, np.ndarray) and isinstance(scale, np.ndarray) and not _is_computed(zero):
        return _constant(site, x, scale, zero, axis, block)
    site.require(not block, f"attribute block_size={block}: MIL has blocks for constants only")
    given = site.dtype(0)
    if x.dtype in (types.int8, types.uint8) and isinstance(scale, np.ndarray) and not _is_computed(zero):
        _require_scalable(site, scale)
        return mb.dequantize(input=x, **_encoding(scale, zero, axis), name=site.name)
    site.require(given.kind in "iu" or given in _EIGHT, f"input 0 is of {given}, which Core ML has not")
    kind = "fp16" if site.dtype(1) == np.float16 else "fp32"
    if isinstance(x, np.ndarray):
        x = mb.const(val=x.astype(np.int32)[()])
    shape = _spread_shape(rank, site.sizes(1), axis)
    if zero is not None:
        whole = zero.astype(np.int32) if isinstance(zero, np.ndarray) else mb.cast(x=zero, dtype="int32")
        x = mb.sub(x=x if x.dtype == types.int32 else mb.cast(x=x, dtype="int32"), y=_shaped(whole, shape))
    return mb.mul(x=mb.cast(x=x, dtype=kind), y=_shaped(scale, shape), name=site.name)


def _constant(site: Site, x: Array, scale: Array, zero: Array | None, axis: int, block: int) -> Array:
    affine = Affine.of(x, scale, zero, axis, block)
    if affine is None:  # the last block is a short one
        scale = np.repeat(scale, block, axis).take(range(x.shape[axis]), axis)
        zero = None if zero is None else np.repeat(zero, block, axis).take(range(x.shape[axis]), axis)
        return Affine(x, scale, zero).dense()
    if x.dtype in _EIGHT and x.ndim >= 2:
        site.values.affines.append(affine)
    return affine.dense()


@lowers("QuantizeLinear")
def quantize_linear(site: Site) -> Any:
    """saturate(round(x / scale) + zero point), halves to the even number."""
    x, scale, zero, rank = site.value(0), site.value(1), _zero(site), site.rank(0)
    dtype = _integers_of(site)
    site.attr("saturate")  # for floats of 8 bits only (operator QuantizeLinear, "Attributes"), which are refused
    block = int(site.attr("block_size", 0) or 0)
    axis = _along(site, rank, scale, block)
    _require_floats(site, "precision", scale)
    if isinstance(x, np.ndarray) and isinstance(scale, np.ndarray) and not _is_computed(zero) and not block:
        return _rounded(x, scale, zero, axis, dtype)
    site.require(not block, f"attribute block_size={block}: MIL has blocks for constants only")
    site.require(dtype in _EIGHT, f"MIL quantizes to int8 and uint8, not {dtype}; quantize with --target coreml")
    site.require_target(targets.iOS17, "quantizing activations")
    for index, value in ((1, scale), (2, zero)):
        if _is_computed(value):
            name = site.node.inputs[index].name
            site.refuse(f"input {index} '{name}' is computed by the model; it has to be constant")
    _require_scalable(site, scale)
    var = site.var(0)
    site.require(is_float(var), f"input 0 '{site.node.inputs[0].name}' is of {site.dtype(0)}, and has to be float")
    found = _encoding(like(var, scale) if scale.ndim else like(var, scale)[()], zero, axis)
    return mb.quantize(input=var, **found, output_dtype=str(dtype), name=site.name)


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(site: Site) -> list[Any]:
    """uint8, from the least to the greatest number and 0; as int32, for MIL's uint8 needs scales that are constant."""
    x = site.var(0)
    site.require(is_float(x), f"input 0 is of {site.dtype(0)}, and has to be float32")
    axes = list(range(site.rank(0)))
    high, low = mb.reduce_max(x=x, axes=axes, keep_dims=False), mb.reduce_min(x=x, axes=axes, keep_dims=False)
    none = like(x, 0)
    high, low = mb.maximum(x=high, y=none), mb.minimum(x=low, y=none)
    span = mb.real_div(x=mb.sub(x=high, y=low), y=like(x, 255))
    scale = mb.select(cond=mb.equal(x=span, y=none), a=like(x, 1), b=span)  # all zeros: any scale will do
    zero = mb.clip(x=mb.round(x=mb.real_div(x=mb.sub(x=none, y=low), y=scale)), alpha=like(x, 0), beta=like(x, 255))
    steps = mb.add(x=mb.round(x=mb.real_div(x=x, y=scale)), y=zero)
    number = mb.cast(x=mb.clip(x=steps, alpha=like(x, 0), beta=like(x, 255)), dtype="int32")
    return [number, scale, mb.cast(x=zero, dtype="int32")]


def _zero(site: Site) -> Any:
    return site.value(2) if site.has(2) else None


def _is_computed(value: Any) -> bool:
    return value is not None and not isinstance(value, np.ndarray)


def _along(site: Site, rank: int, scale: Any, block: int) -> int:
    """The axis of the scales; any where there is one scale."""
    one = not block and all(dim == 1 for dim in scale.shape)
    axis = int(site.attr("axis", _AXIS))
    if one:
        return 0
    site.require(-rank <= axis < rank, f"attribute axis={axis} is beyond rank {rank}")
    return axis % rank


def _require_floats(site: Site, attribute: str, scale: Any) -> None:
    """Refuse other floats than those that the scale is of."""
    code = int(site.attr(attribute, 0) or 0)
    given = site.dtype(1)
    site.require(given in _FLOATS, f"input 1 '{site.node.inputs[1].name}' is of {given}, which Core ML has not")
    same = not code or dtypes.to_numpy(code) == given
    site.require(same, f"attribute {attribute}={code} is not the type of the scale")


def _require_scalable(site: Site, scale: Array) -> None:
    """MIL wants scales that are more than zero; `scale` is constant."""
    name = site.node.inputs[1].name
    site.require(bool((scale > 0).all()), f"input 1 '{name}': a scale is not more than 0")
    site.require(scale.ndim <= 1, f"input 1 '{name}' is of rank {scale.ndim}; MIL has scales along one axis")


def _encoding(scale: Array, zero: Array | None, axis: int) -> dict[str, Any]:
    if scale.size == 1:
        found: dict[str, Any] = {"scale": scale.reshape(-1)[0]}
        return found if zero is None or not zero.any() else found | {"zero_point": zero.reshape(-1)[0]}
    found = {"scale": scale, "axis": np.int32(axis)}
    return found if zero is None or not zero.any() else found | {"zero_point": zero}


def _integers_of(site: Site) -> np.dtype[Any]:
    """The element type of the result: that of the zero point, else `output_dtype`, else uint8."""
    code = int(site.attr("output_dtype", 0) or 0)
    if site.has(2):
        return site.dtype(2)
    return np.dtype(np.uint8) if not code else np.dtype(dtypes.to_numpy(code))


def _spread_shape(rank: int, sizes: tuple[int, ...], axis: int) -> list[int]:
    count = int(np.prod(sizes))
    return [] if count == 1 else [count if each == axis else 1 for each in range(rank)]


def _shaped(value: Any, shape: list[int]) -> Any:
    if isinstance(value, np.ndarray):
        return value.reshape(shape)[()]
    if not shape:
        return value if not value.shape else mb.squeeze(x=value)
    return mb.reshape(x=value, shape=shape)


def _rounded(x: Array, scale: Array, zero: Array | None, axis: int, dtype: np.dtype[Any]) -> Array:
    """A constant as integers; those of 4 bits are kept in 8."""
    shape = _spread_shape(x.ndim, scale.shape, axis)
    wide = np.dtype(np.int8 if dtype == _OTHERS["int4"] else np.uint8) if dtype in _RANGES else dtype
    low, high = _RANGES.get(dtype) or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    point = 0 if zero is None else zero.reshape(shape).astype(np.int64)
    steps = np.rint(x / scale.reshape(shape)).astype(np.int64) + point
    return np.asarray(np.clip(steps, low, high), wide)
