"""Sampling grids."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site


def affine_grid(site: Site) -> Result:
    """The points of the output in homogeneous coordinates, a constant, times theta transposed.

    The coordinates run from -1 to 1: of the corners with `align_corners`, and else of their outer edges. The function
    by which ONNX defines the operator drops the batch axis where it is 1, and so is not used.
    """
    op, dtype = site.op, site.float_type()
    batch, _, *sizes = (int(size) for size in site.value(1).reshape(-1))
    axes = [_coordinates(size, bool(site.attr("align_corners"))) for size in sizes]
    points = np.meshgrid(*axes, indexing="ij")[::-1]  # x, which is the last axis, comes first
    rows = np.stack([*(axis.reshape(-1) for axis in points), np.ones(points[0].size)], axis=-1)
    turned = op.Transpose(site[0], perm=[0, 2, 1])
    return op.reshape(op.MatMul(rows[None].astype(dtype), turned), [batch, *sizes, len(sizes)])


def _coordinates(size: int, align_corners: bool) -> Array:
    if align_corners:
        return np.linspace(-1, 1, size) if size > 1 else np.full(1, -1.0)
    return (2 * np.arange(size) + 1) / size - 1
