"""What a layer multiplies its weights with: its data as columns (im2col), group by group."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from onnxopt.ir.node import Node
from onnxopt.linear.geometry import Geometry, read_geometry
from onnxopt.linear.layer import Layer

Floats32 = npt.NDArray[np.float32]


def columns(layer: Layer, data: npt.NDArray[np.generic], turn: int, positions: int) -> Floats32:
    """The data of a batch as [group, weights of one output in the group, positions].

    The weights are in the order of `layer.canonical`. Of an image that has more positions than are needed, they are
    taken from a grid that moves with `turn`, the number of the batch.

    Args:
        layer: A Conv, Gemm or MatMul.
        data: Its data, [samples, channels, *sizes], or [..., channels].
        turn: Counts the batches.
        positions: How many to take of a sample, about.
    """
    if layer.node.op != "Conv":
        return np.ascontiguousarray(data.reshape(-1, layer.inputs).T, np.float32)[np.newaxis]
    windows = _windows(layer.node, np.asarray(data, np.float32), layer.weight.shape[2:], turn, positions)
    spatial = (windows.ndim - 2) // 2  # windows: [samples, channels, *positions, *kernel]
    channels = windows.shape[1]
    order = (1, *range(2 + spatial, 2 + 2 * spatial), 0, *range(2, 2 + spatial))
    taken = windows.transpose(order).reshape(
        layer.groups, channels // layer.groups * math.prod(windows.shape[2 + spatial :]), -1
    )
    return np.ascontiguousarray(taken)


def _windows(node: Node, data: Floats32, kernel: tuple[int, ...], turn: int, wanted: int) -> Floats32:
    geometry = read_geometry(node, kernel)
    begin, end = _padding(geometry, data.shape[2:])
    around = [(0, 0), (0, 0), *zip(begin, end, strict=True)]
    padded = np.pad(data, around) if any(map(any, around)) else data
    extents = [(size - 1) * step + 1 for size, step in zip(kernel, geometry.dilations, strict=True)]
    axes = tuple(range(2, data.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, extents, axes)
    positions = tuple(slice(None, None, stride) for stride in geometry.strides)
    taps = tuple(slice(None, None, step) for step in geometry.dilations)
    everything = (slice(None), slice(None))
    windows = windows[everything + positions + taps]
    return windows[everything + _grid(windows.shape[2 : data.ndim], turn, wanted)]


def _grid(sizes: tuple[int, ...], turn: int, wanted: int) -> tuple[slice, ...]:
    """Every so many positions along each axis."""
    step = max(1, math.ceil((math.prod(sizes) / wanted) ** (1.0 / len(sizes))))
    return tuple(slice(turn * (axis + 1) % min(step, size or 1), None, step) for axis, size in enumerate(sizes))


def _padding(geometry: Geometry, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before and behind each axis (operator specification, Conv: `auto_pad`)."""
    rank = len(geometry.kernel)
    if geometry.auto_pad == "NOTSET":
        return geometry.pads[:rank], geometry.pads[rank:]
    totals = [
        max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        for size, stride, kernel, dilation in zip(
            sizes, geometry.strides, geometry.kernel, geometry.dilations, strict=True
        )
    ]
    less, more = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    return (less, more) if geometry.auto_pad == "SAME_UPPER" else (more, less)
