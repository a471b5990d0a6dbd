"""Scales regions: looks at the data, chooses, and rewrites the weights of what writes and what reads them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.edit import Edit
from onnxopt.linear.layer import Layer
from onnxopt.linear.match import NoMatch, as_float64, constant_of, is_given, required_constant, rounded, set_constant
from onnxopt.pipeline.base import Context
from onnxopt.quantization.scaling.choice import Floats, Reading, choose
from onnxopt.quantization.scaling.regions import Region, Regions, rescaled
from onnxopt.quantization.scaling.seen import Seen, see

_FUSED = ("Clip", "Relu")
"""Nothing is quantized between a layer and these."""


def scale_regions(edit: Edit, regions: Regions, ctx: Context) -> None:
    """Scale every region that gains by it, with one run over the data.

    Raises:
        BadOption: There are no calibration data.
        BadData: They do not fit, or a tensor is NaN or infinite.
    """
    free = []
    for region in regions:
        if region.obstacle:
            ctx.refuse(f"the channels behind it cannot be scaled: {region.obstacle}", region.first)
        else:
            free.append(region)
    if not free:
        return
    if ctx.data is None:
        raise BadOption(f"{ctx.current} needs calibration data: give --data")
    wanted = {tensor.name: (region.axis, region.channels) for region in free for tensor in region.tensors}
    seen = see(edit.main, wanted, ctx.data, ctx.report_progress)
    for region in free:
        scale = _choice(region, regions, seen)
        if scale is not None:
            _apply(edit, region, regions, scale, ctx)


def _choice(region: Region, regions: Regions, seen: dict[str, Seen]) -> Floats | None:
    quantized = [tensor for tensor in region.tensors if not all(reader.is_op(*_FUSED) for reader in tensor.outputs)]
    layers = [(regions.layer(node), seen[node.inputs[0].name]) for node in region.readers]
    readings = [_reading(layer, data) for layer, data in layers if layer is not None]
    return choose([seen[tensor.name] for tensor in quantized], readings)


def _reading(layer: Layer, seen: Seen) -> Reading:
    canonical = layer.canonical(layer.weight.read())
    weight = np.abs(canonical.astype(np.float64)).reshape(*canonical.shape[:3], -1)
    gain = np.square(weight).sum(axis=(1, 3)).reshape(-1)
    return Reading(weight.max(axis=3), gain, weight.shape[3], seen.square)


def _apply(edit: Edit, region: Region, regions: Regions, scale: Floats, ctx: Context) -> None:
    writes: list[Callable[[], None]] = []
    try:
        for node in dict.fromkeys([*region.writers, *region.readers]):
            given = 1.0 / scale if node in region.writers else None
            read = scale if node in region.readers else None
            writes.append(_change(edit, node, regions.layer(node), given, read))
    except NoMatch as no:
        ctx.refuse(f"the channels behind it cannot be scaled: {no}", region.first)
        return
    if ctx.allow(f"{region.channels} channels scaled, and {len(region.readers)} readers of them", region.first):
        for write in writes:
            write()
        ctx.count("regions")
        ctx.count("channels", region.channels)


def _change(
    edit: Edit, node: ir.Node, layer: Layer | None, given: Floats | None, read: Floats | None
) -> Callable[[], None]:
    """What to call to scale a node.

    Raises:
        NoMatch: What would be written is not finite in the type of the weights.
    """
    if layer is not None:
        weight, bias = rescaled(layer, given, read)
        return lambda: layer.write(edit, weight, bias)
    changes = []
    for index in (1, 2) if len(node.inputs) > 2 else (0, 1):  # scale and bias of a normalization; operands of a Mul
        if given is not None and is_given(node, index) and (constant := constant_of(node.inputs[index])) is not None:
            real = as_float64(required_constant(constant, "scale"))
            changes.append((index, rounded(real * given, constant.dtype, "scale")))

    def write() -> None:
        for index, value in changes:
            set_constant(edit, node, index, value, "scale")

    return write
