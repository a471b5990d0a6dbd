"""Pooling."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import float_operand, is_float, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.windows import Windows, windows


@lowers("MaxPool")
def max_pool(site: Site) -> Any:
    """`mb.max_pool`; with dilations, the largest of slices, axis by axis. Places of the maxima are not given."""
    site.only("storage_order", 0)
    over, _ = _grown(site)
    x = site.var(0)
    if not is_float(x):  # 8 bits, which any float holds
        site.require(site.dtype(0).itemsize == 1, f"input 0 is of {site.dtype(0)}, and MIL pools floats")
        pooled = _largest(mb.cast(x=x, dtype="fp32"), over)
        return mb.cast(x=pooled, dtype="int32", name=site.name)
    return _largest(x, over, name=site.name)


def _largest(x: Any, over: Windows, **named: str) -> Any:
    if all(each == 1 for each in over.dilations):
        return mb.max_pool(x=x, kernel_sizes=over.kernel, strides=over.strides, **over.mil_padding(), **named)
    return _by_slices(x, over, mb.maximum, -np.inf)


@lowers("AveragePool")
def average_pool(site: Site) -> Any:
    """Sums over the windows, divided by how many numbers ONNX counts in each.

    Padding counts with `count_include_pad`, but not what `ceil_mode` adds behind it.
    """
    include = bool(site.attr("count_include_pad", 0))
    over, given = _grown(site)
    x = float_operand(site, 0)
    plain = all(each == 1 for each in over.dilations)
    if plain and (not include or over == given):
        return mb.avg_pool(
            x=x,
            kernel_sizes=over.kernel,
            strides=over.strides,
            exclude_padding_from_average=not include,
            name=site.name,
            **over.mil_padding(),
        )
    counted = given if include else replace(given, begins=[0] * len(given.kernel), ends=[0] * len(given.kernel))
    counts = _counts(_sizes(site), over, counted)
    return mb.real_div(x=_sums(x, over), y=like(x, counts), name=site.name)


@lowers("LpPool")
def lp_pool(site: Site) -> Any:
    """The p-th root of the sum of |x|^p over the windows."""
    p = site.attr("p", 2)
    over, _ = _grown(site)
    x = float_operand(site, 0)
    return _root(_sums(_powers(x, p), over), p, site.name)


@lowers("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
def global_pool(site: Site) -> Any:
    """Over all axes after the first two."""
    x, axes = float_operand(site, 0), list(range(2, site.rank(0)))
    if site.node.op == "GlobalLpPool":
        p = site.attr("p", 2)
        return _root(mb.reduce_sum(x=_powers(x, p), axes=axes, keep_dims=True), p, site.name)
    function = mb.reduce_max if site.node.op == "GlobalMaxPool" else mb.reduce_mean
    return function(x=x, axes=axes, keep_dims=True, name=site.name)


def _powers(x: Any, p: float) -> Any:
    size = mb.abs(x=x)
    return size if p == 1 else mb.square(x=x) if p == 2 else mb.pow(x=size, y=like(x, p))


def _root(sums: Any, p: float, name: str) -> Any:
    if p == 1:
        return mb.identity(x=sums, name=name)
    return mb.sqrt(x=sums, name=name) if p == 2 else mb.pow(x=sums, y=like(sums, 1 / p), name=name)


def _grown(site: Site) -> tuple[Windows, Windows]:
    """The windows with what `ceil_mode` adds to the padding, and as they are given.

    MIL has a `ceil_mode` of its own, for symmetric padding and at most two axes; written out it is the same for all.
    """
    site.require(site.has(0) and site.attr("kernel_shape") is not None, "attribute kernel_shape is missing")
    over = windows(site, [int(size) for size in site.attr("kernel_shape")])
    auto = site.attr("auto_pad", "NOTSET")
    gaps = any(each != 1 for each in over.dilations)
    site.require(
        not (gaps and auto.startswith("SAME")),
        f"attribute dilations with auto_pad={auto!r} is read in two ways, by the specification and by onnxruntime",
    )
    if not site.attr("ceil_mode", 0):
        return over, over
    sizes, ends = _sizes(site), []
    for axis, size in enumerate(sizes):
        stride, extent = over.strides[axis], over.extents[axis]
        padded = size + over.begins[axis] + over.ends[axis]
        count = -(-(padded - extent) // stride) + 1
        if (count - 1) * stride >= size + over.begins[axis]:
            count -= 1  # windows that would start in the padding behind are left out
        ends.append(max((count - 1) * stride + extent - size - over.begins[axis], over.ends[axis]))
    grown = replace(over, ends=ends)
    unlike = auto == "VALID" and grown != over
    site.require(not unlike, "attribute ceil_mode=1 with auto_pad='VALID' is read in two ways; write pads instead")
    return grown, over


def _sums(x: Any, over: Windows) -> Any:
    """The sum over each window, padding being zero."""
    if any(each != 1 for each in over.dilations):
        return _by_slices(x, over, mb.add, 0.0)
    mean = mb.avg_pool(
        x=x,
        kernel_sizes=over.kernel,
        strides=over.strides,
        exclude_padding_from_average=False,
        **over.mil_padding(),
    )
    return mb.mul(x=mean, y=like(x, math.prod(over.kernel)))


def _by_slices(x: Any, over: Windows, combine: Any, padding: float) -> Any:
    """What windows with gaps give, one axis after the other: MIL's pooling has no dilations."""
    if any(over.pad):
        x = mb.pad(x=x, pad=over.pad, mode="constant", constant_val=like(x, padding))
    for axis, (size, stride, dilation) in enumerate(zip(over.kernel, over.strides, over.dilations, strict=True), 2):
        span = x.shape[axis] - (size - 1) * dilation
        rank = len(x.shape)
        taps = []
        for place in range(size):
            begin, end, strides = [0] * rank, [0] * rank, [1] * rank
            begin[axis], end[axis], strides[axis] = place * dilation, place * dilation + span, stride
            whole = [at != axis for at in range(rank)]
            taps.append(mb.slice_by_index(x=x, begin=begin, end=end, stride=strides, begin_mask=whole, end_mask=whole))
        x = reduce(lambda a, b: combine(x=a, y=b), taps)
    return x


def _sizes(site: Site) -> list[int]:
    return [site.size(0, axis) for axis in range(2, site.rank(0))]


def _counts(sizes: list[int], over: Windows, counted: Windows) -> Array:
    """How many numbers each window has that count: those within `counted`'s padding. Shape [1, 1, *outputs]."""
    found = np.ones((1, 1), np.float32)
    for axis, (size, count) in enumerate(zip(sizes, over.counts(sizes), strict=True)):
        starts = np.arange(count) * over.strides[axis] - over.begins[axis]
        places = starts[:, None] + np.arange(over.kernel[axis]) * over.dilations[axis]
        inside = (places >= -counted.begins[axis]) & (places < size + counted.ends[axis])
        found = found[..., None] * inside.sum(1).astype(np.float32)
    return found
