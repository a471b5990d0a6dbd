"""Windows of tensors: parts of them, and more than them."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.carriers import is_fixed
from onnxopt.backends.coreml.lowering.families.indexing import gathered
from onnxopt.backends.coreml.lowering.numbers import arrays, is_float, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.values import as_mil

_END = 2**31 - 1


@lowers("Slice")
def slice_(site: Site) -> Any:
    """Starts and ends count from either end and are clamped; steps may be negative."""
    rank = site.rank(0)
    if site.opset >= 10 and not all(isinstance(site.value(index), np.ndarray) for index in (1, 2)):
        return _computed(site)
    starts, ends = site.ints(1, "starts"), site.ints(2, "ends")
    assert starts is not None and ends is not None
    axes = site.ints(3, "axes", range(len(starts)))
    steps = site.ints(4, "steps", [1] * len(starts))
    assert axes is not None and steps is not None
    axes = [axis % max(rank, 1) for axis in axes]
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return _cut(value, axes, starts, ends, steps)
    var = operand(site, 0)
    begin, end_, stride = [0] * rank, [0] * rank, [1] * rank
    begin_mask, end_mask, turned = [True] * rank, [True] * rank, []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        dim = var.shape[axis]
        stride[axis] = abs(step)
        if step < 0:
            turned.append(axis)
        if is_fixed((dim,)):
            first, last = bounds(start, end, step, int(dim))
            if step < 0:
                first, last = int(dim) - 1 - first, int(dim) - 1 - last
            if last <= first:  # known, whatever the numbers are
                return _cut(np.broadcast_to(like(var, 0), site.sizes(0)), axes, starts, ends, steps)
            begin[axis], begin_mask[axis] = first, first == 0
            end_[axis], end_mask[axis] = last, last == dim
            continue
        # -1 - start is the place counted from the other end: numpy's negative places do the rest
        first, last = (start, end) if step > 0 else (-1 - start, -1 - end)
        begin[axis], begin_mask[axis] = first, first == 0 or first <= -_END
        end_[axis], end_mask[axis] = last, last >= _END - 1
    if turned:
        var = mb.reverse(x=var, axes=turned)
    if all(begin_mask) and all(end_mask) and stride == [1] * rank:
        return mb.identity(x=var, name=site.name) if not turned else var
    return mb.slice_by_index(
        x=var, begin=begin, end=end_, stride=stride, begin_mask=begin_mask, end_mask=end_mask, name=site.name
    )


def bounds(start: int, end: int, step: int, dim: int) -> tuple[int, int]:
    """Start and end clamped as the operator has it: for negative steps the end may be -1, before the front."""
    start += dim if start < 0 else 0
    end += dim if end < 0 else 0
    if step > 0:
        return min(max(start, 0), dim), min(max(end, 0), dim)
    return min(max(start, 0), dim - 1), min(max(end, -1), dim - 1)


def _cut(value: Array, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> Array:
    """Of what is known."""
    parts = [slice(None)] * value.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        first, last = bounds(start, end, step, value.shape[axis])
        parts[axis] = slice(first, None if last < 0 else last, step)
    return value[tuple(parts)]


def _computed(site: Site) -> Any:
    """Starts or ends that the model computes: they are brought into [0, dimension] before."""
    rank, var = site.rank(0), operand(site, 0)
    starts, ends = site.value(1), site.value(2)
    count = int(starts.shape[0])
    axes = site.ints(3, "axes", range(count))
    steps = site.ints(4, "steps", [1] * count)
    assert axes is not None and steps is not None
    site.require(all(step == 1 for step in steps), f"its starts or ends are computed and input steps={steps}, not 1")
    axes = [axis % rank for axis in axes]
    whole = mb.shape(x=var) if not is_fixed(tuple(var.shape)) else np.array(var.shape, np.int32)
    dims = mb.gather(x=as_mil(whole), indices=np.array(axes, np.int32), axis=0)
    begin = _placed(starts, dims, axes, rank)
    end = _placed(ends, dims, axes, rank)
    masked = [axis not in axes for axis in range(rank)]
    return mb.slice_by_index(x=var, begin=begin, end=end, begin_mask=masked, end_mask=masked, name=site.name)


def _placed(places: Any, dims: Any, axes: list[int], rank: int) -> Any:
    """Places for all axes: what is not in `axes` is masked and may be anything."""
    places = as_mil(places.astype(np.int32) if isinstance(places, np.ndarray) else places)
    below = mb.less(x=places, y=np.int32(0))
    places = mb.add(x=places, y=mb.mul(x=mb.cast(x=below, dtype="int32"), y=dims))
    places = mb.minimum(x=mb.maximum(x=places, y=np.int32(0)), y=dims)
    order = np.array([axes.index(axis) if axis in axes else 0 for axis in range(rank)], np.int32)
    return mb.gather(x=places, indices=order, axis=0)


@lowers("Pad")
def pad(site: Site) -> Any:
    """Negative pads cut. `mb.pad` takes floats, and for modes but constant two axes: else what is there is gathered."""
    mode = site.only("mode", "constant", "reflect", "edge", "wrap")
    given = site.ints(1, "pads")
    site.require(given is not None, "attribute pads is missing")
    assert given is not None
    rank = site.rank(0)
    axes = site.ints(3, "axes", range(rank)) if site.opset >= 18 else list(range(rank))
    assert axes is not None
    before, after = [0] * rank, [0] * rank
    for at, axis in enumerate(axes):
        before[axis % rank], after[axis % rank] = given[at], given[at + len(axes)]
    number = _filling(site)
    known = arrays(site)
    if known is not None and min(before + after, default=0) >= 0:
        filling = {"constant_values": number} if mode == "constant" else {}
        return np.pad(known[0], list(zip(before, after, strict=True)), mode, **filling)
    return padded(site, operand(site, 0), before, after, mode, number, site.name)


def _filling(site: Site) -> Any:
    """The constant that is put around, a number."""
    if site.opset < 11:
        return site.attr("value", 0.0)
    return site.constant(2, "constant_value").reshape(-1)[0] if site.has(2) else 0


def padded(site: Site, var: Any, before: list[int], after: list[int], mode: str, number: Any, name: str) -> Any:
    """A Var with more, or less, along each axis."""
    rank = len(before)
    if min(before + after) < 0:
        cut = [max(-each, 0) for each in before]
        ends = [-max(-each, 0) for each in after]
        site.require(mode == "constant" or min(before + after) >= 0, f"attribute mode={mode!r} of negative pads")
        var = mb.slice_by_index(
            x=var, begin=cut, end=ends, begin_mask=[each == 0 for each in cut], end_mask=[each == 0 for each in ends]
        )
    before, after = [max(each, 0) for each in before], [max(each, 0) for each in after]
    touched = [axis for axis in range(rank) if before[axis] or after[axis]]
    if not touched:
        return mb.identity(x=var, name=name)
    pads = [each for axis in range(rank) for each in (before[axis], after[axis])]
    if mode == "constant" and is_float(var):
        return mb.pad(x=var, pad=pads, mode="constant", constant_val=like(var, number), name=name)
    if is_float(var) and mode in ("reflect", "edge") and rank >= 2 and touched[0] >= rank - 2 and rank <= 4:
        # the operator itself forbids to reflect more than there is, so flexible axes have room for it
        most = [_room(dim, mode) for dim in var.shape[rank - 2 :]]
        if all(max(before[at], after[at]) <= most[at] for at in (-2, -1)):
            return mb.pad(x=var, pad=pads[-4:], mode="reflect" if mode == "reflect" else "replicate", name=name)
    for axis in touched:
        site.require(is_fixed((var.shape[axis],)), f"attribute mode={mode!r} along a flexible axis")
        around = (before[axis], after[axis])
        var = _filled(var, axis, around, number) if mode == "constant" else _gathered(var, axis, around, mode)
    return mb.identity(x=var, name=name)


def _room(dim: Any, mode: str) -> int:
    if not is_fixed((dim,)):
        return _END if mode == "reflect" else 0
    return int(dim) - (mode == "reflect")


def _filled(var: Any, axis: int, around: tuple[int, int], number: Any) -> Any:
    """Integers and truth values beside constants of their own: through floats they would lose digits."""
    parts = [var]
    for at, count in enumerate(around):
        if count:
            shape = [int(dim) for dim in var.shape]
            shape[axis] = count
            parts.insert(0 if at == 0 else len(parts), np.full(shape, like(var, number)))
    return mb.concat(values=[as_mil(part) for part in parts], axis=axis)


def _gathered(var: Any, axis: int, around: tuple[int, int], mode: str) -> Any:
    """What is around is somewhere in the tensor: its places are known."""
    places: Any = np.pad(np.arange(var.shape[axis], dtype=np.int32), around, mode)  # type: ignore[call-overload]
    return gathered(var, places, axis, None)


@lowers("CenterCropPad")
def center_crop_pad(site: Site) -> Any:
    """The middle of what is too long; what is too short gets zeros on both sides, one more at the end."""
    sizes, rank = site.sizes(0), site.rank(0)
    wanted = [int(each) for each in site.constant(1, "shape").reshape(-1)]
    axes = [int(axis) % rank for axis in site.attr("axes", list(range(rank)))]
    before, after = [0] * rank, [0] * rank
    for axis, want in zip(axes, wanted, strict=True):
        lacking = want - sizes[axis]
        half = abs(lacking) // 2
        # cropped of an odd number, the operator's function starts at floor((dim - want) / 2) too
        before[axis] = half if lacking > 0 else -half
        after[axis] = lacking - before[axis]
    return padded(site, operand(site, 0), before, after, "constant", 0, site.name)
