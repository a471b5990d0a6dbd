"""Tensors put together, taken apart, repeated and turned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.carriers import is_fixed, reshaped
from onnxopt.backends.coreml.lowering.families.indexing import gathered
from onnxopt.backends.coreml.lowering.numbers import arrays, is_float, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site


@lowers("Concat")
def concat(site: Site) -> Any:
    """Along an axis that exists; what is empty is left out."""
    rank = site.rank(0)
    axis = site.axis(rank, 1 if site.opset < 4 else 0)
    known = arrays(site)
    if known is not None:
        return np.concatenate(known, axis)
    given = [operand(site, index) for index in range(len(site)) if 0 not in site.shape(index)]
    for index in range(len(site)):
        site.value(index)
    if len(given) == 1:
        return given[0]
    return mb.concat(values=given, axis=axis, name=site.name)


@lowers("Split")
def split(site: Site) -> Any:
    """By given sizes, or into equal parts of which the last may be smaller (`num_outputs`); some may be empty."""
    axis, count = site.axis(site.rank(0), 0), len(site.node.outputs)
    site.require(site.attr("num_outputs", count) == count, f"attribute num_outputs={site.attr('num_outputs')}")
    sizes, dim = site.ints(1, "split"), site.shape(0)[axis]
    if sizes is None:
        site.require(is_fixed((dim,)), f"dimension {axis} of '{site.node.inputs[0].name}' is flexible")
        part = -(-int(dim) // count)
        sizes = [min(part, int(dim) - at * part) for at in range(count)]
        site.require(site.opset >= 18 or int(dim) % count == 0, f"{dim} are not {count} equal parts")
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return np.split(value, np.cumsum(sizes)[:-1], axis)
    full = [at for at, size in enumerate(sizes) if size]
    found: list[Any] = [None] * count
    parts: Any = [value]
    if len(full) > 1:
        parts = mb.split(x=operand(site, 0), split_sizes=[sizes[at] for at in full], axis=axis, name=site.name)
    for at, part in zip(full, parts, strict=True):
        found[at] = part
    return [_nothing(site, value, axis) if part is None else part for part in found]


def _nothing(site: Site, var: Any, axis: int) -> Array:
    """A part of no size: known, and left out by Concat; MIL has no empty tensors."""
    shape = [0 if at == axis else dim for at, dim in enumerate(var.shape)]
    site.require(is_fixed(tuple(shape)), f"a part of it along axis {axis} is empty, and of a flexible shape")
    return np.zeros(shape, types.nptype_from_builtin(var.dtype))


@lowers("Tile")
def tile(site: Site) -> Any:
    """As often along each axis as input 1 says."""
    site.require(site.opset >= 6, "before opset 6 it repeats along one axis; run convert-opset before")
    known = arrays(site)
    if known is not None:
        return np.tile(known[0], known[1].reshape(-1).tolist())
    repeats = site.value(1)
    if isinstance(repeats, np.ndarray):
        if (repeats == 1).all():
            return site.value(0)
        return mb.tile(x=operand(site, 0), reps=repeats.reshape(-1), name=site.name)
    return mb.tile(x=operand(site, 0), reps=operand(site, 1), name=site.name)


@lowers("DepthToSpace")
def depth_to_space(site: Site) -> Any:
    """CRD is `mb.pixel_shuffle`; for DCR the channels change places before."""
    block, mode = int(site.attr("blocksize")), site.only("mode", "DCR", "CRD")
    batch, channels, height, width = site.sizes(0)
    x, depth = operand(site, 0), channels // (block * block)
    if mode == "DCR" and depth > 1:
        apart = mb.reshape(x=x, shape=[batch, block * block, depth, height * width])
        x = mb.reshape(x=mb.transpose(x=apart, perm=[0, 2, 1, 3]), shape=[batch, channels, height, width])
    if is_float(x):
        return mb.pixel_shuffle(x=x, upscale_factor=block, name=site.name)
    apart = mb.reshape(x=x, shape=[batch * depth, block, block, height, width])
    woven = mb.transpose(x=apart, perm=[0, 3, 1, 4, 2])
    return mb.reshape(x=woven, shape=[batch, depth, height * block, width * block], name=site.name)


@lowers("SpaceToDepth")
def space_to_depth(site: Site) -> Any:
    """In DCR the place within a block comes before the channel, in CRD after it."""
    mode = site.only("mode", "DCR", "CRD")
    block = int(site.attr("blocksize"))
    batch, channels, height, width = site.sizes(0)
    high, wide = height // block, width // block
    apart = mb.reshape(x=operand(site, 0), shape=[batch * channels, high, block, wide, block])
    places = mb.transpose(x=apart, perm=[0, 2, 4, 1, 3])
    if mode == "CRD":
        return mb.reshape(x=places, shape=[batch, channels * block * block, high, wide], name=site.name)
    places = mb.reshape(x=places, shape=[batch, channels, block * block, high * wide])
    first = mb.transpose(x=places, perm=[0, 2, 1, 3])
    return mb.reshape(x=first, shape=[batch, block * block * channels, high, wide], name=site.name)


@lowers("ReverseSequence")
def reverse_sequence(site: Site) -> Any:
    """The first numbers of each sequence, as many as input 1 says."""
    time, batch = site.axis(2, 0, "time_axis"), site.axis(2, 1, "batch_axis")
    return mb.reverse_sequence(
        x=operand(site, 0), lengths=operand(site, 1), seq_axis=time, batch_axis=batch, name=site.name
    )


@lowers("Trilu")
def trilu(site: Site) -> Any:
    """A choice by a mask that is known: `mb.band_part` multiplies, which makes NaN of infinities."""
    upper = bool(site.attr("upper", 1))
    k = int(site.constant(1, "k").reshape(-1)[0]) if site.has(1) else 0
    rows, columns = site.sizes(0)[-2:]
    kept = np.triu(np.ones((rows, columns), np.bool_), k) if upper else np.tril(np.ones((rows, columns), np.bool_), k)
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return np.where(kept, value, np.zeros((), value.dtype))
    x = operand(site, 0)
    mask = np.broadcast_to(kept, site.sizes(0))
    zeros = np.zeros(site.sizes(0)).astype(like(x, 0).dtype)
    return mb.select(cond=np.ascontiguousarray(mask), a=x, b=zeros, name=site.name)


@lowers("Compress")
def compress(site: Site) -> Any:
    """By a condition that is known, or by `mb.non_zero` of it: then the shape is known only when it runs."""
    axis, condition = site.attr("axis"), site.value(1)
    x = operand(site, 0)
    if axis is None:
        x = reshaped(x, [math.prod(site.sizes(0))])
    along = 0 if axis is None else site.axis(site.rank(0), 0)
    if not isinstance(condition, np.ndarray):
        return gathered(x, mb.squeeze(x=mb.non_zero(x=operand(site, 1)), axes=[1]), along, site.name)
    condition = condition.reshape(-1)
    kept = np.flatnonzero(condition[: x.shape[along]]).astype(np.int32)
    site.require(kept.size > 0, "its condition takes nothing; Core ML has no empty tensors")
    return gathered(x, kept, along, site.name)
