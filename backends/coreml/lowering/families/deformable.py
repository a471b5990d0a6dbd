"""DeformConv: a convolution of what is sampled at places that another tensor moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering import sampling
from onnxopt.backends.coreml.lowering.numbers import float_operand, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.windows import Windows, declared


@lowers("DeformConv")
def deform_conv(site: Site) -> Any:
    """Every place of the kernel is sampled beforehand, [N, C * kernel, places]; what is left is a product."""
    x, offsets = float_operand(site, 0), float_operand(site, 2)
    batch, channels, *_ = site.sizes(0)
    outputs, per_group, *kernel = site.sizes(1)
    _, _, *wanted = site.sizes(2)
    given = [int(each) for each in site.attr("kernel_shape") or kernel]
    site.require(given == kernel, f"attribute kernel_shape={given} is not that of the weights, {kernel}")
    groups, sets = int(site.attr("group", 1)), int(site.attr("offset_group", 1))
    site.require(channels % sets == 0, f"attribute offset_group={sets} does not divide {channels} channels")
    inner, places = math.prod(kernel), math.prod(wanted)
    moved = mb.reshape(x=offsets, shape=[batch, sets, inner, len(kernel), places])
    masks = mb.reshape(x=float_operand(site, 4), shape=[batch, sets, inner * places]) if site.has(4) else None
    base = _base(declared(site, kernel), wanted)
    parts = []
    for at in range(sets):
        part = x if sets == 1 else _channels(x, at, channels // sets)
        offset = mb.gather(x=moved, indices=np.int32(at), axis=1)
        axes = []
        for axis in range(len(kernel)):
            point = mb.add(x=mb.gather(x=offset, indices=np.int32(axis), axis=2), y=like(x, base[axis]))
            axes.append(sampling.linear(mb.reshape(x=point, shape=[batch, inner * places])))
        found = sampling.sampled(part, axes, sampling.zeros)
        if masks is not None:
            mask = mb.gather(x=masks, indices=np.int32(at), axis=1)
            found = mb.mul(x=found, y=mb.expand_dims(x=mask, axes=[2]))
        parts.append(mb.transpose(x=found, perm=[0, 2, 1]))
    columns = parts[0] if sets == 1 else mb.concat(values=parts, axis=1)
    columns = mb.reshape(x=columns, shape=[batch, channels * inner, places])
    weight = mb.reshape(x=float_operand(site, 1), shape=[outputs, per_group * inner, 1])
    product = mb.conv(x=columns, weight=weight, groups=groups, pad_type="valid")
    if site.has(3):
        product = mb.add(x=product, y=mb.reshape(x=float_operand(site, 3), shape=[1, outputs, 1]))
    return mb.reshape(x=product, shape=[batch, outputs, *wanted], name=site.name)


def _channels(x: Any, at: int, count: int) -> Any:
    """One of several parts along axis 1."""
    rank = len(x.shape)
    masks = [axis != 1 for axis in range(rank)]
    begin, end = [0] * rank, [0] * rank
    begin[1], end[1] = at * count, (at + 1) * count
    return mb.slice_by_index(x=x, begin=begin, end=end, begin_mask=masks, end_mask=masks)


def _base(over: Windows, wanted: list[int]) -> list[Array]:
    """Where each place of the kernel lies before it is moved, for each axis: [kernel, places]."""
    inside = np.meshgrid(*(np.arange(size) for size in over.kernel), indexing="ij")
    outside = np.meshgrid(*(np.arange(size) for size in wanted), indexing="ij")
    return [
        inside[axis].reshape(-1, 1) * over.dilations[axis]
        + outside[axis].reshape(1, -1) * over.strides[axis]
        - over.begins[axis]
        for axis in range(len(wanted))
    ]
