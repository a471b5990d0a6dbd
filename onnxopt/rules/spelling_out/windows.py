"""Pools by slices: one pass along each axis, as the maximum and the sum over a box go axis by axis.

What a window is: operator specification, AveragePool. Windows that would start in the padding at the end are none, as
the specification says since opset 22 and onnxruntime always.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site

_MOST_SLICES = 64
"""Along all axes together."""


@dataclass(frozen=True)
class Axis:
    """The windows along one axis."""

    size: int
    """Of the input."""
    kernel: int
    stride: int
    dilation: int
    before: int
    """Padding before the input."""
    after: int
    """Padding after it."""
    windows: int

    @property
    def extent(self) -> int:
        """From the first element of a window to its last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def tail(self) -> int:
        """Padding after the input that the windows reach, `ceil_mode` counted in; negative where they end before."""
        return (self.windows - 1) * self.stride + self.extent - self.before - self.size

    def counts(self, within: tuple[int, int]) -> Array:
        """How many elements of each window are in [start, end) of the padded input."""
        starts = np.arange(self.windows)[:, None] * self.stride + np.arange(self.kernel)[None] * self.dilation
        return np.asarray(((starts >= within[0]) & (starts < within[1])).sum(axis=1))


def axes_of(site: Site) -> list[Axis]:
    """The windows of a pool along its spatial axes."""
    shape, kernel = site.shape(), site.attr("kernel_shape")
    rank = len(kernel)
    if len(shape) != rank + 2:
        raise NoMatch(f"its kernel has {rank} axes, and its input {len(shape)}")
    strides, dilations = (site.attr(name) or [1] * rank for name in ("strides", "dilations"))
    pads, auto = site.attr("pads") or [0] * (2 * rank), site.attr("auto_pad", "NOTSET")
    found = []
    for axis in range(rank):
        size, extent = shape[axis + 2], dilations[axis] * (kernel[axis] - 1) + 1
        before, after = pads[axis], pads[axis + rank]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            windows = -(-size // strides[axis])
            total = max((windows - 1) * strides[axis] + extent - size, 0)
            before, after = (total // 2, total - total // 2)[:: 1 if auto == "SAME_UPPER" else -1]
        elif auto == "VALID":
            before = after = 0
        covered = size + before + after - extent
        windows = covered // strides[axis] + 1
        if site.attr("ceil_mode", 0) and auto not in ("SAME_UPPER", "SAME_LOWER"):
            windows = -(-covered // strides[axis]) + 1
            if (windows - 1) * strides[axis] >= size + before:  # it would start in the padding after the input
                windows -= 1
        if windows < 1:
            raise NoMatch("its windows are larger than its input")
        found.append(Axis(size, kernel[axis], strides[axis], dilations[axis], before, after, windows))
    return found


def max_pool(site: Site) -> Result:
    """The maximum of slices, one for each element of the window along each axis."""
    if site.used(1):
        raise NoMatch(f"its indices '{site.node.outputs[1].name}' are read")
    dtype = site.float_type()
    return _pooled(site, site[0], axes_of(site), "Max", np.array(-np.inf, dtype))


def average_pool(site: Site) -> Result:
    """The sum of slices, over the number of elements that count: volumes, which few targets convolve."""
    dtype, axes = site.float_type(), axes_of(site)
    total = _pooled(site, site[0], axes, "Add", np.array(0, dtype))
    return site.op.Mul(total, (1 / _counts(site, axes)).astype(dtype))


def average_pool_by_conv(site: Site) -> Result:
    """A depthwise Conv with 1 / k, times k / n where n of the k elements of a window count."""
    dtype, axes = site.float_type(), axes_of(site)
    factor = math.prod(axis.kernel for axis in axes) / _counts(site, axes)
    mean = _depthwise(site, site[0], axes, factor.dtype.type(1) / math.prod(axis.kernel for axis in axes))
    return mean if np.all(factor == 1) else site.op.Mul(mean, factor.astype(dtype))


def explicit_pads(site: Site) -> Result:
    """The same windows by pads alone, without `ceil_mode`: MaxPool."""
    axes = axes_of(site)
    kept = {name: value for name, value in site.node.attrs.items() if name not in ("auto_pad", "ceil_mode", "pads")}
    pads = [*(axis.before for axis in axes), *(max(axis.tail, 0) for axis in axes)]
    if site.used(1):
        raise NoMatch(f"its indices '{site.node.outputs[1].name}' are read")
    return site.op.make(site.node.op, site[0], pads=pads, **kept)


def lp_pool(site: Site) -> Result:
    """(sum |x|^p)^(1/p) of slices."""
    dtype, axes, power = site.float_type(), axes_of(site), site.attr("p")
    op, x = site.op, site[0]
    if power == 1:
        return _pooled(site, op.Abs(x), axes, "Add", np.array(0, dtype))
    if power == 2:
        return op.Sqrt(_pooled(site, op.Mul(x, x), axes, "Add", np.array(0, dtype)))
    powers = op.Pow(op.Abs(x), site.number(power))
    return op.Pow(_pooled(site, powers, axes, "Add", np.array(0, dtype)), site.number(1 / power))


def one_output(site: Site) -> Result:
    """The same without the outputs that nobody reads."""
    for index in range(1, len(site.node.outputs)):
        if site.used(index):
            raise NoMatch(f"its output '{site.node.outputs[index].name}' is read")
    return site.op.make(site.node.op, *[x if x.name else None for x in site.node.inputs], **site.node.attrs)


def _depthwise(site: Site, x: Tensor | Node, axes: list[Axis], weight: float) -> Node:
    """A Conv that gives the sums of the windows of each channel, times a number."""
    channels, kernel = site.shape()[1], [axis.kernel for axis in axes]
    weights = np.full([channels, 1, *kernel], weight, site.dtype())
    pads = [*(axis.before for axis in axes), *(max(axis.tail, 0) for axis in axes)]
    strides, dilations = [axis.stride for axis in axes], [axis.dilation for axis in axes]
    return site.op.Conv(
        x, weights, group=channels, kernel_shape=kernel, pads=pads, strides=strides, dilations=dilations
    )


def _counts(site: Site, axes: list[Axis]) -> Array:
    """How many elements each window divides by, of shape [1, 1, *windows]."""
    padding = site.attr("count_include_pad", 0)
    counts: Array = np.ones((1, 1), np.int64)
    for axis in axes:
        start, end = axis.before, axis.before + axis.size
        counts = counts[..., None] * axis.counts((0, end + axis.after) if padding else (start, end))
    if not counts.all():
        raise NoMatch("a window of it is all padding")
    return counts


def _padded(site: Site, x: Tensor | Node, axes: list[Axis], value: Array) -> Tensor | Node:
    before, after = [axis.before for axis in axes], [max(axis.tail, 0) for axis in axes]
    if not any(before) and not any(after):
        return x
    return site.op.pad(x, [0, 0, *before, 0, 0, *after], value)


def _pooled(site: Site, x: Tensor | Node, axes: list[Axis], combine: str, padding: Array) -> Tensor | Node:
    """Combine, along one axis after the other, the slices that hold the first, second, ... element of each window."""
    if sum(axis.kernel for axis in axes) > _MOST_SLICES:
        raise NoMatch(f"windows of {[axis.kernel for axis in axes]}: up to {_MOST_SLICES} slices are spelled out")
    op, shape = site.op, site.shape()
    flat = len(shape) > 4  # accelerators stop at four or five axes: the batch and the channels are one then
    found = _padded(site, x, axes, padding)
    if flat:
        sizes = [axis.size + axis.before + max(axis.tail, 0) for axis in axes]
        found = op.reshape(found, [shape[0] * shape[1], *sizes])
    for index, axis in enumerate(axes):
        at = index + (1 if flat else 2)
        reach = (axis.windows - 1) * axis.stride + 1
        parts = [
            op.slice(found, at, start, start + reach, axis.stride)
            for start in range(0, axis.kernel * axis.dilation, axis.dilation)
        ]
        found = parts[0]
        for part in parts[1:]:
            found = op.make(combine, found, part)
    return op.reshape(found, [*shape[:2], *[axis.windows for axis in axes]]) if flat else found
