"""Convolutions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site
from onnxopt.backends.coreml.lowering.windows import Windows, declared, windows


@lowers("Conv")
def conv(site: Site) -> Any:
    """`mb.conv`: [N, C, D*] and weights [outputs, C / groups, K*], of 1 to 3 places."""
    over = windows(site, _kernel(site))
    return _biased(site, mb.conv, **_parameters(site, over))


@lowers("ConvTranspose")
def conv_transpose(site: Site) -> Any:
    """`mb.conv_transpose` without padding gives all that the kernel reaches; ONNX's padding cuts from it.

    Where `output_padding` or `output_shape` ask for more than that, zeros are put on (and the bias afterwards).
    """
    cut = _cuts(site)
    kept = replace(cut, begins=[max(each, 0) for each in cut.begins], ends=[max(each, 0) for each in cut.ends])
    if kept == cut:
        return _biased(site, mb.conv_transpose, **_parameters(site, cut))
    found = mb.conv_transpose(**_parameters(site, kept))
    missing = [max(-each, 0) for each in cut.pad]
    found = mb.pad(x=found, pad=missing, mode="constant", constant_val=like(found, 0))
    return _with_bias(site, found) if site.has(2) else found


def _cuts(site: Site) -> Windows:
    """What is cut from the full result at the begin and the end of each axis; negative: what is put on.

    The equations are those of the operator's specification, total_padding halved as it says.
    """
    over = declared(site, _kernel(site))
    places = len(over.kernel)
    extra = [int(each) for each in site.attr("output_padding") or [0] * places]
    shape = site.attr("output_shape")
    auto = site.only("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if shape is None and auto in ("NOTSET", "VALID"):
        begins, ends = ([0] * places, [0] * places) if auto == "VALID" else (over.begins, over.ends)
        return replace(over, begins=begins, ends=[end - each for end, each in zip(ends, extra, strict=True)])
    begins, ends = [], []
    for axis, stride in enumerate(over.strides):
        total = over.extents[axis] - stride + extra[axis]
        if shape is not None:  # the last numbers of output_shape, where it has the batch and the channels too
            total += stride * site.size(0, 2 + axis) - int(shape[len(shape) - places + axis])
        begins.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
        where = "attribute auto_pad" if shape is None else "attribute output_shape"
        site.require(
            total >= 0 or (begins[-1] == 0 and shape is not None),
            f"{where} asks for more than the kernel reaches, at an end that is read in two ways; write pads instead",
        )
        ends.append(total - begins[-1] - extra[axis])
    return replace(over, begins=begins, ends=ends)


def _parameters(site: Site, over: Windows) -> dict[str, Any]:
    return {
        "x": site.var(0),
        "weight": site.var(1),
        "strides": over.strides,
        "dilations": over.dilations,
        "groups": site.attr("group", 1),
        **over.mil_padding(),
    }


def _biased(site: Site, operation: Any, **given: Any) -> Any:
    """With the bias, which MIL's operations take only where it is constant."""
    if site.has(2) and not isinstance(site.value(2), np.ndarray):
        return _with_bias(site, operation(**given))
    bias = {"bias": site.var(2)} if site.has(2) else {}
    return operation(**given, **bias, name=site.name)


def _with_bias(site: Site, found: Any) -> Any:
    bias = mb.reshape(x=site.var(2), shape=[1, -1, *[1] * (site.rank(0) - 2)])
    return mb.add(x=found, y=bias, name=site.name)


@lowers("ConvInteger")
def conv_integer(site: Site) -> Any:
    """A product of matrices in int32, for floats would not hold the sums: every place of the kernel is a slice."""
    over = windows(site, _kernel(site))
    site.require(site.attr("group", 1) == 1, "attribute group: only one group of integers can be said in MIL")
    sizes, outputs = site.sizes(0), site.sizes(1)[0]
    x = _less_zero_point(site, 0, 2)
    weight = mb.reshape(x=_less_zero_point(site, 1, 3), shape=[1, outputs, math.prod(site.sizes(1)[1:])])
    for axis, (begin, end) in enumerate(zip(over.begins, over.ends, strict=True)):
        x = _framed(x, 2 + axis, begin, end)
    count = over.counts(sizes[2:])
    taps = [_tap(x, at, count, over) for at in np.ndindex(*over.kernel)]
    flat = [mb.reshape(x=tap, shape=[sizes[0], sizes[1], 1, math.prod(count)]) for tap in taps]
    columns = mb.reshape(x=mb.concat(values=flat, axis=2), shape=[sizes[0], sizes[1] * len(taps), math.prod(count)])
    return mb.reshape(x=mb.matmul(x=weight, y=columns), shape=[sizes[0], outputs, *count], name=site.name)


def _less_zero_point(site: Site, index: int, zero: int) -> Any:
    x = operand(site, index)
    if not site.has(zero):
        return x
    point = site.constant(zero, "zero point").astype(np.int32)
    if point.ndim == 1 and point.size > 1:
        point = point.reshape(-1, *[1] * (site.rank(index) - 1))
    return mb.sub(x=x, y=point if point.ndim > 1 else np.int32(point.reshape(())))


def _framed(x: Any, axis: int, begin: int, end: int) -> Any:
    """Zeros before and behind: `mb.pad` has floats only."""
    blocks = [
        mb.const(val=np.zeros([size if at == axis else dim for at, dim in enumerate(x.shape)], np.int32))
        for size in (begin, end)
        if size
    ]
    if not blocks:
        return x
    return mb.concat(values=[*blocks[: bool(begin)], x, *blocks[bool(begin) :]], axis=axis)


def _tap(x: Any, at: tuple[int, ...], count: list[int], over: Windows) -> Any:
    """What one place of the kernel meets in every window."""
    begin = [0, 0, *(place * dilation for place, dilation in zip(at, over.dilations, strict=True))]
    spans = [(size - 1) * stride + 1 for size, stride in zip(count, over.strides, strict=True)]
    end = [*x.shape[:2], *(start + span for start, span in zip(begin[2:], spans, strict=True))]
    return mb.slice_by_index(x=x, begin=begin, end=end, stride=[1, 1, *over.strides])


def _kernel(site: Site) -> list[int]:
    """The kernel's sizes, which the weight has."""
    kernel = [int(size) for size in site.sizes(1)[2:]]
    given = site.attr("kernel_shape") or kernel
    site.require(list(given) == kernel, f"attribute kernel_shape={given} is not that of the weight, {kernel}")
    return kernel
