"""RoiAlign: regions of feature maps, sampled at points between their places."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering import sampling
from onnxopt.backends.coreml.lowering.numbers import float_operand, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site


@lowers("RoiAlign")
def roi_align(site: Site) -> Any:
    """The mean of a grid of points in each bin: Core ML's own operation for regions counts other points."""
    site.only("mode", "avg")  # the maximum is read in two ways, by its text and by the reference
    x, rois = float_operand(site, 0), float_operand(site, 1)
    _, channels, *sizes = site.sizes(0)
    count, ratio = site.sizes(1)[0], int(site.attr("sampling_ratio", 0))
    site.require(ratio > 0, "attribute sampling_ratio=0 makes the number of points depend on the regions")
    wanted = [int(site.attr("output_height", 1)), int(site.attr("output_width", 1))]
    old = "output_half_pixel"
    kind = site.only("coordinate_transformation_mode", old if site.opset < 16 else "half_pixel", old)
    shifted, scale = kind == "half_pixel", site.attr("spatial_scale", 1.0)
    points = [bins * ratio for bins in wanted]
    axes = []
    for axis, (size, bins) in enumerate(zip(sizes, wanted, strict=True)):
        along = _points(rois, 1 - axis, bins, ratio, scale, shifted=shifted)
        spread = [1, points[0], 1] if axis == 0 else [1, 1, points[1]]
        whole = mb.add(x=mb.reshape(x=along, shape=[count, *spread[1:]]), y=like(x, np.zeros([1, *points])))
        axes.append(_neighbours(mb.reshape(x=whole, shape=[count, points[0] * points[1]]), size))
    found = sampling.sampled(x, axes, sampling.border, operand(site, 2))
    image = mb.reshape(x=mb.transpose(x=found, perm=[0, 2, 1]), shape=[count, channels, *points])
    return mb.avg_pool(x=image, kernel_sizes=[ratio] * 2, strides=[ratio] * 2, pad_type="valid", name=site.name)


def _points(rois: Any, column: int, bins: int, ratio: int, scale: float, *, shifted: bool) -> Any:
    """Where a region is sampled along one axis: [regions, bins * ratio]."""
    first, last = (mb.gather(x=rois, indices=np.array([at], np.int32), axis=1) for at in (column, column + 2))
    start, end = (mb.mul(x=each, y=like(rois, scale)) for each in (first, last))
    length = mb.sub(x=end, y=start)
    if shifted:
        start = mb.sub(x=start, y=like(rois, 0.5))
    else:
        length = mb.maximum(x=length, y=like(rois, 1))
    places = (np.arange(bins * ratio) + 0.5) / (bins * ratio)
    return mb.add(x=start, y=mb.mul(x=length, y=like(rois, places[None])))


def _neighbours(point: Any, size: int) -> list[sampling.Weighted]:
    """More than a place beyond the map, there is nothing; nearer to it, its edge."""
    outside = mb.logical_or(x=mb.less(x=point, y=like(point, -1)), y=mb.greater(x=point, y=like(point, size)))
    there = mb.cast(x=mb.logical_not(x=outside), dtype=types.builtin_to_string(point.dtype))
    near = sampling.linear(sampling.clamped(point, size))
    return [(place, mb.mul(x=weight, y=there)) for place, weight in near]
