"""Columns put back into an image."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.rules.spelling_out.site import Result, Site


def col2im(site: Site) -> Result:
    """A ConvTranspose of each channel's block, of which element i goes to place i: each weight is 1 or 0."""
    op, dtype = site.op, site.float_type()
    image, block = ([int(each) for each in site.value(index).reshape(-1)] for index in (1, 2))
    rank, size = len(image), math.prod(block)
    batch, rows, _ = site.shape()
    strides, dilations = (site.attr(name) or [1] * rank for name in ("strides", "dilations"))
    pads = site.attr("pads") or [0] * (2 * rank)
    extents = [dilations[at] * (block[at] - 1) + 1 for at in range(rank)]
    counts = [(image[at] + pads[at] + pads[at + rank] - extents[at]) // strides[at] + 1 for at in range(rank)]
    weights = np.tile(np.eye(size, dtype=dtype).reshape(size, 1, *block), [rows // size, *([1] * (rank + 1))])
    found: Node = op.ConvTranspose(
        op.reshape(site[0], [batch, rows, *counts]), weights, group=rows // size, kernel_shape=block, strides=strides,
        dilations=dilations,
    )  # fmt: skip
    for at in range(rank):
        covered = (counts[at] - 1) * strides[at] + extents[at]
        end = pads[at] + image[at]
        if end > covered:
            after = [0] * (2 + at) + [end - covered] + [0] * (rank - 1 - at)
            found = op.pad(found, [0] * (rank + 2) + after, site.number(0))
        if pads[at] or end < covered:
            found = op.slice(found, at + 2, pads[at], end)
    return found
