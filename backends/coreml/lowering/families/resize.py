"""Resizing: MIL's own operations where they document the same places, else gathering or a product with a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.interpolation import (
    SYMMETRIC,
    Axis,
    Kernel,
    coordinates,
    grids,
    is_narrow,
    is_outside,
    matrix,
    nearest,
)
from onnxopt.backends.coreml.lowering.numbers import Array, is_float, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_MODES = (*SYMMETRIC, "align_corners", "asymmetric", "tf_crop_and_resize")
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@lowers("Resize", "Upsample")
def resize(site: Site) -> Any:
    """Every mode of interpolation, along any axes; of integers, only the nearest."""
    mode = {"bilinear": "linear"}.get(site.attr("mode", "nearest"), site.attr("mode", "nearest"))
    site.require(mode in ("nearest", "linear", "cubic"), f"attribute mode={mode!r} is none")
    old = site.node.op == "Upsample" or site.opset < 11
    placing = "asymmetric" if old else site.only("coordinate_transformation_mode", *_MODES)
    rounding = "floor" if old else site.only("nearest_mode", *_ROUNDINGS)
    kernel = Kernel(
        mode == "cubic",
        float(site.attr("cubic_coeff_a", -0.75)),
        bool(site.attr("antialias", 0)),
        bool(site.attr("exclude_outside", 0)),
    )
    extrapolation = float(site.attr("extrapolation_value", 0.0))
    if _changes_flexible_axes(site, old):
        return _of_flexible(site, mode, placing, rounding, kernel)
    axes = _axes(site, placing, old)
    _require_one_reading(site, axes, placing, rounding if mode == "nearest" else None)
    x = operand(site, 0)
    if mode == "nearest":
        found = _nearest(x, {index: nearest(axis, placing, rounding) for index, axis in axes.items()})
    else:
        site.require(is_float(x), f"attribute mode={mode!r} with integers cannot be said in MIL")
        found = _interpolated(x, axes, placing, kernel)
    outside = {index: is_outside(axis, placing) for index, axis in axes.items()}
    if any(each.any() for each in outside.values()):
        found = _extrapolated(found, outside, extrapolation)
    return mb.identity(x=found, name=site.name) if found is x else found


def _axes(site: Site, placing: str, old: bool) -> dict[int, Axis]:
    """The axes that change, by index."""
    sizes = site.shape(0)
    rank = len(sizes)
    given = [int(axis) % rank for axis in site.attr("axes") or range(rank)]
    roi = _array(site, 1, "roi") if not old else None
    scales = _scales(site, old)
    outputs = None if old else _array(site, 3, "sizes")
    regions = np.tile([[0.0], [1.0]], rank)
    if placing == "tf_crop_and_resize":
        site.require(roi is not None and roi.size == 2 * len(given), "input 1 'roi' is missing or not of all axes")
        assert roi is not None
        regions[:, given] = roi.reshape(2, -1)
    found = {}
    if outputs is not None:
        ratios = [int(out) / sizes[axis] for axis, out in zip(given, outputs, strict=True)]
        policy = site.only("keep_aspect_ratio_policy", "stretch", "not_larger", "not_smaller")
        if policy != "stretch":
            ratios = [min(ratios) if policy == "not_larger" else max(ratios)] * len(ratios)
            outputs = np.array([int(ratio * sizes[axis] + 0.5) for axis, ratio in zip(given, ratios, strict=True)])
        for axis, out, ratio in zip(given, outputs, ratios, strict=True):
            found[axis] = Axis(sizes[axis], int(out), ratio, *regions[:, axis])
    else:
        site.only("keep_aspect_ratio_policy", "stretch")
        assert scales is not None
        for axis, scale in zip(given, scales, strict=True):
            if isinstance(sizes[axis], (int, np.integer)):  # others are kept
                found[axis] = Axis(sizes[axis], int(scale * sizes[axis]), float(scale), *regions[:, axis])
    site.require(not old or all(axis.scale >= 1 for axis in found.values()), "before opset 11 shrinking is not defined")
    return {index: axis for index, axis in found.items() if not axis.is_kept(placing)}


def _changes_flexible_axes(site: Site, old: bool) -> bool:
    shape, scales = site.shape(0), _scales(site, old)
    given = [int(axis) % len(shape) for axis in site.attr("axes") or range(len(shape))]
    changed = [True] * len(given) if scales is None else [scale != 1 for scale in scales]
    return any(
        changes and not isinstance(shape[axis], (int, np.integer)) for axis, changes in zip(given, changed, strict=True)
    )


def _scales(site: Site, old: bool) -> Array | None:
    given = site.attr("scales")
    return np.asarray(given, np.float32) if given is not None else _array(site, 1 if old else 2, "scales")


def _array(site: Site, index: int, what: str) -> Array | None:
    """An input that may be missing, or empty for the same."""
    if not site.has(index):
        return None
    found = site.constant(index, what)
    return found if found.size else None


def _require_one_reading(site: Site, axes: dict[int, Axis], placing: str, rounding: str | None) -> None:
    """Refuse what the specification and onnxruntime compute differently."""
    for axis in axes.values():
        if placing in ("align_corners", "tf_crop_and_resize"):
            site.require(
                axis.is_whole and not (placing == "tf_crop_and_resize" and axis.scale == 1),
                f"attribute coordinate_transformation_mode={placing!r} with scale {axis.scale:g} of {axis.size} places "
                "is read in two ways, by the specification and by onnxruntime; give sizes instead",
            )
        if rounding is not None and is_narrow(axis, placing, rounding):
            site.refuse(
                f"attribute nearest_mode={rounding!r}: with scale {axis.scale:g} of {axis.size}, what is nearest "
                "hangs on rounding; give sizes, or another coordinate_transformation_mode"
            )


def _nearest(x: Any, indices: dict[int, Array]) -> Any:
    """Gathering, or repetition of whole places along the last two axes."""
    rank = len(x.shape)
    factors = {index: len(each) // x.shape[index] for index, each in indices.items()}
    repeats = all(
        np.array_equal(each, np.repeat(np.arange(x.shape[index]), max(factors[index], 1)))
        for index, each in indices.items()
    )
    if indices and repeats and rank >= 3 and is_float(x) and all(index >= rank - 2 for index in indices):
        height, width = factors.get(rank - 2, 1), factors.get(rank - 1, 1)
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=height, scale_factor_width=width)
    for index, each in indices.items():
        x = mb.gather(x=x, indices=each, axis=index)
    return x


def _interpolated(x: Any, axes: dict[int, Axis], placing: str, kernel: Kernel) -> Any:
    """`mb.resize_bilinear` where it documents the same places, else a product with a matrix for each axis."""
    rank = len(x.shape)
    sampling = None if kernel.cubic or kernel.antialias or kernel.exclude_outside else _sampling(axes, placing)
    fixed = all(isinstance(dim, (int, np.integer)) for dim in x.shape[-2:])
    if axes and sampling and fixed and rank >= 3 and all(index >= rank - 2 for index in axes):
        height, width = (axes[index].output if index in axes else x.shape[index] for index in (rank - 2, rank - 1))
        return mb.resize_bilinear(
            x=x, target_size_height=int(height), target_size_width=int(width), sampling_mode=sampling
        )
    for index, axis in axes.items():
        x = _product(x, like(x, matrix(axis, placing, kernel)), index)
    return x


def _sampling(axes: dict[int, Axis], placing: str) -> str | None:
    """MIL's `sampling_mode` that looks where ONNX does along all axes."""
    fitting = ["UNALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "DEFAULT"]
    for axis in axes.values():
        at = np.clip(coordinates(axis, placing), 0, axis.size - 1)
        known = grids(axis)
        fitting = [name for name in fitting if name in known and np.allclose(known[name], at, rtol=0, atol=1e-5)]
    return fitting[0] if fitting else None


def _product(x: Any, weights: Array, index: int) -> Any:
    """`weights` [outputs, size] along an axis."""
    rank = len(x.shape)
    if rank == 1:
        return mb.squeeze(x=mb.matmul(x=mb.expand_dims(x=x, axes=[0]), y=np.ascontiguousarray(weights.T)), axes=[0])
    if index == rank - 2:
        return mb.matmul(x=weights, y=x)
    order = [each for each in range(rank) if each != index] + [index]
    if index != rank - 1:
        x = mb.transpose(x=x, perm=order)
    x = mb.matmul(x=x, y=np.ascontiguousarray(weights.T))
    return mb.transpose(x=x, perm=[int(each) for each in np.argsort(order)]) if index != rank - 1 else x


def _extrapolated(x: Any, outside: dict[int, Array], value: float) -> Any:
    """A value where any axis lies outside."""
    beyond = np.zeros([1] * len(x.shape), bool)
    for index, each in outside.items():
        beyond = beyond | each.reshape([-1 if at == index else 1 for at in range(len(x.shape))])
    return mb.select(cond=mb.const(val=beyond), a=like(x, value), b=x)


def _of_flexible(site: Site, mode: str, placing: str, rounding: str, kernel: Kernel) -> Any:
    """Whole factors along the last two axes, whatever their size."""
    old, rank = site.node.op == "Upsample" or site.opset < 11, site.rank(0)
    site.only("keep_aspect_ratio_policy", "stretch")
    given: Sequence[int] = [int(axis) % rank for axis in site.attr("axes") or range(rank)]
    scales = _scales(site, old)
    site.require(scales is not None, "sizes of a flexible input cannot be said in MIL; give scales")
    assert scales is not None
    if not old:
        _array(site, 1, "roi"), _array(site, 3, "sizes")
    factors = {axis: float(scale) for axis, scale in zip(given, scales, strict=True) if scale != 1}
    whole = all(factor >= 1 and factor.is_integer() and axis >= rank - 2 for axis, factor in factors.items())
    height, width = (int(factors.get(axis, 1)) for axis in (rank - 2, rank - 1))
    x = operand(site, 0)
    example = [Axis(4, 4 * factor, factor) for factor in (height, width)]
    if whole and rank >= 3 and is_float(x):
        if mode == "nearest" and all(
            np.array_equal(nearest(axis, placing, rounding), np.repeat(np.arange(4), axis.output // 4))
            for axis in example
        ):
            return mb.upsample_nearest_neighbor(
                x=x, scale_factor_height=height, scale_factor_width=width, name=site.name
            )
        plain = not kernel.antialias and not kernel.exclude_outside
        if mode == "linear" and placing in SYMMETRIC[:2] and plain:
            return mb.upsample_bilinear(
                x=x, scale_factor_height=height, scale_factor_width=width, align_corners=False, name=site.name
            )
    return site.refuse(
        f"attributes mode={mode!r} and coordinate_transformation_mode={placing!r} of a flexible shape with scales "
        f"{[float(scale) for scale in scales]} cannot be said in MIL"
    )
