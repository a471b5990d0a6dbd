"""GridSample: numbers at points that another tensor says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering import sampling
from onnxopt.backends.coreml.lowering.numbers import float_operand, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""What opset 16 called them."""
_NEIGHBOURS = {"nearest": sampling.nearest, "linear": sampling.linear, "cubic": sampling.cubic}


@lowers("GridSample")
def grid_sample(site: Site) -> Any:
    """`mb.resample` for the linear one upon images; else gathered: how it rounds to the nearest is not documented."""
    given = site.only("mode", "linear", "nearest", "cubic", "bilinear", "bicubic")
    mode = _MODES.get(given, given)
    padding = site.only("padding_mode", "zeros", "border", "reflection")
    aligned = bool(site.attr("align_corners", 0))
    x, grid = float_operand(site, 0), float_operand(site, 1)
    if mode == "linear" and len(x.shape) == 4:
        return _resampled(site, x, grid, padding, aligned)
    batch, channels, *sizes = site.sizes(0)
    _, *wanted, _ = site.sizes(1)
    flat = mb.reshape(x=grid, shape=[batch, math.prod(wanted), len(sizes)])
    axes = []
    for axis, size in enumerate(sizes):
        last = len(sizes) - 1 - axis  # x, which is of the last axis, comes first
        point = _point(mb.gather(x=flat, indices=np.int32(last), axis=2), size, aligned)
        axes.append(_NEIGHBOURS[mode](point))

    def bounded(place: Any, size: int) -> tuple[Any, Any]:
        return sampling.zeros(place, size) if padding == "zeros" else (_within(place, size, padding, aligned), None)

    found = mb.transpose(x=sampling.sampled(x, axes, bounded), perm=[0, 2, 1])
    return mb.reshape(x=found, shape=[batch, channels, *wanted], name=site.name)


def _resampled(site: Site, x: Any, grid: Any, padding: str, aligned: bool) -> Any:
    """The edge is reflected twice where corners are not aligned: coremltools says so of PyTorch's `grid_sample`."""
    symmetric = padding == "reflection" and not aligned
    named = {"zeros": "constant", "border": "border", "reflection": "symmetric" if symmetric else "reflection"}
    if grid.dtype != types.fp32:
        grid = mb.cast(x=grid, dtype="fp32")
    return mb.resample(
        x=x,
        coordinates=grid,
        sampling_mode="bilinear",
        padding_mode=named[padding],
        padding_value=like(x, 0),
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=aligned,
        name=site.name,
    )


def _point(point: Any, size: int, aligned: bool) -> Any:
    """From [-1, 1], of the middles of the first and the last element, or of their outer edges."""
    if aligned:
        return mb.mul(x=mb.add(x=point, y=like(point, 1)), y=like(point, (size - 1) / 2))
    scaled = mb.mul(x=mb.add(x=point, y=like(point, 1)), y=like(point, size / 2))
    return mb.sub(x=scaled, y=like(point, 0.5))


def _within(place: Any, size: int, padding: str, aligned: bool) -> Any:
    """Neighbours beyond the borders brought within them, as PyTorch and onnxruntime do.

    ONNX's reference brings the point itself within them before, which makes another cubic one of it.
    """
    if padding == "reflection" and not (aligned and size == 1):
        low, high = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
        place = sampling.reflected(place, low, high)
    return sampling.clamped(place, size)
