"""Layers with Q/DQ that TensorRT builds without a word and computes in float, or with the wrong scales.

Measured with TensorRT-RTX 1.7, from the types in its report of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnxopt.quantization.legality.carrying import arriving, axis_at
from onnxopt.quantization.legality.facts import Coding, Facts, Site
from onnxopt.quantization.legality.violation import Violation, wrong

_LAYERS = ("Conv", "Gemm", "MatMul")
_STORED = ("int4", "uint4", "float4_e2m1fn", "float8_e4m3fn")
"""Weights that may be quantized alone, to be small."""


def one_input(facts: Facts) -> Iterator[Violation]:
    """A layer to which one input comes in integers, and the other in float."""
    for site in facts.of(*_LAYERS):
        data, weight = _operands(site)
        there = data or weight
        if there is None or (data is not None and weight is not None):
            continue
        if there.is_constant and there.integers in _STORED:
            continue
        name = site.node.inputs[0 if data is None else 1].name
        reason = f"'{name}' is not quantized and its other input is: runs in float; quantize both, next to the layer"
        yield wrong(site.node, reason)


def scales_that_fuse(facts: Facts) -> Iterator[Violation]:
    """Scales that no integer kernel has: along the axis that a layer sums over, or of an activation of a Conv."""
    for site in facts.of(*_LAYERS):
        operands = _operands(site)
        for index, found in enumerate(operands):
            if found is None or None in operands or found.scale is None:
                continue
            name = site.node.inputs[index].name
            if found.block:
                if _differ_in_a_sum(site, index, found):
                    reason = f"the scales of '{name}' are in blocks: is silently wrong; give it one for each channel"
                    yield wrong(site.node, reason)
            elif found.axis is not None:
                yield from _along(site, index, found, facts)
            elif site.node.op == "Conv" and index == 0 and found.scale.ndim:
                shape = list(found.scale.shape)
                yield wrong(site.node, f"the scale of '{name}' is of shape {shape}: runs in float; requantize helps")


def _along(site: Site, index: int, found: Coding, facts: Facts) -> Iterator[Violation]:
    """Scales along an axis."""
    name, axis = site.node.inputs[index].name, axis_at(site, index, found, facts)
    shape = facts.shapes.shape(site.node.inputs[index])
    if axis is None or shape is None:
        return
    free = _free_axis(site, index, len(shape))
    if axis == free:
        return
    if found.is_constant and free is not None:
        reason = f"the scales of the weight '{name}' are along axis {axis}: runs in float; quantize along axis {free}"
    else:
        reason = f"'{name}' has a scale for each channel: runs in float; give it one scale"
    yield wrong(site.node, reason)


def _operands(site: Site) -> tuple[Coding | None, Coding | None]:
    first, second = (arriving(site.node.inputs[index], site.opset) if site.has(index) else None for index in (0, 1))
    return first, second


def _free_axis(site: Site, index: int, rank: int) -> int | None:
    """The axis of an operand that is one of the result too, and may have scales; None where there is none."""
    if site.node.op == "Conv":
        return 0 if index else None
    if rank < 2:
        return None
    is_turned = site.node.op == "Gemm" and bool(site.node.attr("transB" if index else "transA", 0))
    return rank - 1 if bool(index) is not is_turned else rank - 2


def _differ_in_a_sum(site: Site, index: int, found: Coding) -> bool:
    """Whether products with different scales are summed up."""
    if found.scale is None or found.scale.ndim < 2:
        return True
    free = _free_axis(site, index, found.scale.ndim)
    return any(size > 1 for axis, size in enumerate(found.scale.shape) if axis != free)
