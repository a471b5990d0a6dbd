"""What is read from an image at places that are computed: regions, and deformed windows."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site


def roi_align(site: Site) -> Result:
    """Averages of bilinear samples, which are a matrix along each axis of the image: A X[batch] B^T.

    How a region is divided and where a sample is none: RoiAlign's specification and its reference implementation.
    """
    op, ratio = site.op, site.attr("sampling_ratio")
    site.float_type()
    _, _, height, width = site.shape()
    mode = site.attr("mode")
    if mode != "avg" or ratio <= 0:
        raise NoMatch(
            f"its mode is '{mode}' and its sampling_ratio {ratio}: averages of a fixed number are spelled out"
        )
    shift = 0.5 if site.attr("coordinate_transformation_mode", "output_half_pixel") == "half_pixel" else 0.0
    scaled = op.Mul(site[1], site.number(site.attr("spatial_scale")))
    places = op.Sub(scaled, site.number(shift)) if shift else scaled
    rows = _averages(site, places, 1, site.attr("output_height"), height, widened=not shift)
    columns = _averages(site, places, 0, site.attr("output_width"), width, widened=not shift)
    images = op.Gather(site[0], site[2], axis=0)
    return op.MatMul(op.MatMul(rows, images), op.Transpose(columns, perm=[0, 1, 3, 2]))


def _averages(site: Site, places: Tensor | Node, at: int, bins: int, size: int, *, widened: bool) -> Node:
    """The mean weight of each element of an axis in each bin of each region: [regions, 1, bins, size].

    `widened` regions are one element wide at least.
    """
    op, ratio = site.op, site.attr("sampling_ratio")
    start, end = op.slice(places, 1, at, at + 1), op.slice(places, 1, at + 2, at + 3)
    extent = op.Sub(end, start)
    if widened:
        extent = op.Max(extent, site.number(1))
    inside = (np.arange(bins * ratio) + 0.5) / (bins * ratio)
    samples = op.Add(start, op.Mul(extent, inside[None].astype(site.dtype())))
    outside = op.Or(op.Less(samples, site.number(-1)), op.Greater(samples, site.number(size)))
    distance = op.Sub(
        op.Unsqueeze(op.clip(samples, site.number(0), site.number(size - 1)), np.array([2], np.int64)),
        np.arange(size, dtype=site.dtype()),
    )
    weights = op.Relu(op.Sub(site.number(1), op.Abs(distance)))
    kept = op.Where(op.Unsqueeze(outside, np.array([2], np.int64)), site.number(0), weights)
    parted = op.Reshape(kept, np.array([-1, bins, ratio, size], np.int64))
    return op.Unsqueeze(op.reduce("ReduceMean", parted, [2], keepdims=False), np.array([1], np.int64))


def deform_conv(site: Site) -> Result:
    """The elements under each window, read by GridSample where the offsets say, times the weights (DeformConv)."""
    op = site.op
    site.float_type()
    batch, channels, height, width = site.shape()
    outputs, per_group, *kernel = site.shape(1)
    groups, parts = site.attr("group", 1), site.attr("offset_group", 1)
    taps, rows, columns = math.prod(kernel), *site.shape(2)[2:]
    offsets = op.reshape(site[2], [batch * parts, taps, 2, rows * columns])
    grid = [_coordinates(site, offsets, axis, size) for axis, size in ((1, width), (0, height))]
    image = op.reshape(site[0], [batch * parts, channels // parts, height, width])
    read = op.GridSample(image, op.Concat(*grid, axis=3), align_corners=0, padding_mode="zeros")
    if site.given(4):
        read = op.Mul(read, op.reshape(site[4], [batch * parts, 1, taps, rows * columns]))
    under = op.reshape(read, [batch, groups, per_group * taps, rows * columns])
    weights = op.reshape(site[1], [1, groups, outputs // groups, per_group * taps])
    found = op.reshape(op.MatMul(weights, under), [batch, outputs, rows, columns])
    return op.Add(found, op.reshape(site[3], [1, outputs, 1, 1])) if site.given(3) else found


def _coordinates(site: Site, offsets: Node, axis: int, size: int) -> Node:
    """Where each tap of each window reads along an axis, as GridSample counts: -1 and 1 are the image's edges."""
    op, kernel, places = site.op, site.shape(1)[2:], site.shape(2)[2:]
    pads, strides, dilations = (
        site.attr(name) or [default] * 4 for name, default in (("pads", 0), ("strides", 1), ("dilations", 1))
    )
    taps, windows = np.indices(kernel)[axis].reshape(-1, 1), np.indices(places)[axis].reshape(1, -1)
    still = windows * strides[axis] - pads[axis] + taps * dilations[axis]
    moved = op.slice(offsets, 2, axis, axis + 1)  # [batch, taps, 1, windows], which is to be [batch, taps, windows, 1]
    moved = op.Add(op.Transpose(moved, perm=[0, 1, 3, 2]), still[..., None].astype(site.dtype()))
    return op.Sub(op.Mul(op.Add(moved, site.number(0.5)), site.number(2 / size)), site.number(1))
