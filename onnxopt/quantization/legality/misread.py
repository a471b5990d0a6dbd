"""Codings that TensorRT takes without a word for others than they are.

Measured with TensorRT-RTX 1.7, from what its parser says in passing, and from engines that are the same to the bit
with an attribute and without it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxopt.quantization.legality.facts import MOVES, Facts, coding
from onnxopt.quantization.legality.violation import Violation, wrong

_HANDING_ON = (
    *MOVES, "Cast", "Concat", "DepthToSpace", "Expand", "Gather", "MaxPool", "Pad", "Relu", "Shape", "Size", "Slice",
    "SpaceToDepth", "Split", "Tile",
)  # fmt: skip
"""What may read integers: it gives out the same ones, or none of them."""


def zero_points_written(facts: Facts) -> Iterator[Violation]:
    """A QuantizeLinear without a zero point: uint8 by ONNX's definition, and int8 here."""
    for one in facts.codings:
        if one.is_quantize and not one.has_zero and one.integers == "uint8":
            reason = "no zero point is written: uint8, and silently computed as int8; write one of int8, or requantize"
            yield wrong(one.node, reason)


def integers_handed_on(facts: Facts) -> Iterator[Violation]:
    """Arithmetic on quantized integers, which ONNX wraps round, and the builder may not."""
    for one in facts.codings:
        for reader in one.result.outputs if one.is_quantize else ():
            if coding(reader, one.opset) is None and not reader.is_op(*_HANDING_ON):
                yield wrong(reader, f"computes with the integers of '{one.result.name}'; put DequantizeLinear between")


def saturating(facts: Facts) -> Iterator[Violation]:
    """`saturate=0` of float8: ONNX makes infinity or NaN of what is too large, and TensorRT the largest number."""
    for one in facts.codings:
        if one.is_quantize and one.integers.startswith("float8") and one.node.attr("saturate", 1) == 0:
            yield wrong(one.node, "saturate=0 is silently taken for 1; leave it out")


def normal_scales(facts: Facts) -> Iterator[Violation]:
    """Scales so small that their reciprocals, by which the builder multiplies, are infinite."""
    for one in facts.codings:
        if one.scale is None or not np.issubdtype(one.scale.dtype, np.floating):
            continue
        least = float(np.finfo(one.scale.dtype).tiny)
        small = one.scale[(one.scale > 0) & (one.scale < least)]
        if small.size:
            reason = f"the scale {small.flat[0]:g} is below {least:g}, and has no reciprocal; calibrate again"
            yield wrong(one.node, reason)
