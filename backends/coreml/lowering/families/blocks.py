"""Col2Im: blocks put back into an image, what lies on what added."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.families.slicing import padded
from onnxopt.backends.coreml.lowering.numbers import float_operand, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site
from onnxopt.backends.coreml.lowering.windows import Windows, listed


@lowers("Col2Im")
def col2im(site: Site) -> Any:
    """`mb.conv_transpose` with a kernel that puts each number of a block at its place; padding is cut off."""
    x = float_operand(site, 0)
    batch, rows, _ = site.sizes(0)
    image = [int(each) for each in site.constant(1, "image_shape").reshape(-1)]
    block = [int(each) for each in site.constant(2, "block_shape").reshape(-1)]
    places = len(image)
    site.require(1 <= places <= 3, f"images of {places} axes cannot be said in MIL; of 1 to 3 they can")
    pads = listed(site, "pads", 0, 2 * places)
    over = Windows(
        block, listed(site, "strides", 1, places), listed(site, "dilations", 1, places), pads[:places], pads[places:]
    )
    counts, inner = over.counts(image), math.prod(block)
    site.require(rows % inner == 0, f"its {rows} rows are no multiple of the {inner} of block_shape={block}")
    channels = rows // inner
    kernel = np.tile(np.eye(inner).reshape(inner, 1, *block), (channels, *[1] * (places + 1)))
    found = mb.conv_transpose(
        x=mb.reshape(x=x, shape=[batch, rows, *counts]),
        weight=like(x, kernel),
        strides=over.strides,
        dilations=over.dilations,
        groups=channels,
        pad_type="valid",
    )
    after = [
        size + begin - int(whole) for size, begin, whole in zip(image, over.begins, tuple(found.shape)[2:], strict=True)
    ]
    cut = [0, 0, *(-begin for begin in over.begins)]
    return padded(site, found, cut, [0, 0, *after], "constant", 0, site.name)
