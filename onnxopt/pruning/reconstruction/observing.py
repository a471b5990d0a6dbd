"""The equations of a layer: what its weights are multiplied with, and what should come of it, position by position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.linear.geometry import Geometry, Sizes, read_geometry
from onnxopt.linear.layer import Layer
from onnxopt.linear.match import NoMatch, attribute

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_EVERY = 4
"""One sample of so many is held out."""
_EVERYTHING = (slice(None), slice(None))


class Positions:
    """Some positions of an image, drawn anew for each batch and the same for all that is taken from it.

    A grid would not do: it meets borders too often or never, and with a stride or a dilation behind it sees half of
    what there is (on tinybeauty at 30 % zeros that costs 1.2 dB).
    """

    def __init__(self, sizes: Sizes, turn: int, wanted: int) -> None:
        self.sizes = sizes
        count = math.prod(sizes)
        chosen = np.arange(count)
        if wanted < count:
            chosen = np.sort(np.random.default_rng(turn).choice(count, wanted, replace=False))
        self.coordinates = np.unravel_index(chosen, sizes) if sizes else ()


def fits(layer: Layer, data: Array, output: Array) -> bool:
    """Whether a layer can give out something of this shape for this data."""
    if not layer.node.is_op("Conv", "ConvTranspose"):
        return output.shape == (*data.shape[:-1], layer.outputs)
    same = output.ndim == data.ndim and output.shape[:2] == (data.shape[0], layer.outputs)
    if not same or layer.node.op == "ConvTranspose":  # which has attributes that add to its sizes
        return same
    return output.shape[2:] == read_geometry(layer.node, layer.weight.shape[2:]).output_sizes(data.shape[2:])


def seen(layer: Layer, data: Array, positions: Positions) -> Floats:
    """What the weights of one output are multiplied with: [group, weights, positions], samples one behind the other.

    The weights are in the order of `layer.canonical`.

    Args:
        layer: A Conv, ConvTranspose, Gemm or MatMul.
        data: Its data, a batch.
        positions: Of a Conv's output.
    """
    if not layer.node.is_op("Conv", "ConvTranspose"):
        return np.ascontiguousarray(data.reshape(-1, layer.inputs).T, np.float64)[np.newaxis]
    geometry = read_geometry(layer.node, layer.weight.shape[2:])
    rank = len(geometry.kernel)
    windows = (_windows if layer.node.op == "Conv" else _transposed_windows)(geometry, data, positions)
    order = (1, *range(3, 3 + rank), 0, 2)  # from [sample, channel, position, *kernel]
    weights = layer.inputs // layer.groups * math.prod(geometry.kernel)
    found: Floats = windows.transpose(order).reshape(layer.groups, weights, -1).astype(np.float64)
    return found


def wanted(layer: Layer, output: Array, positions: Positions) -> Floats:
    """An output of the layer at the positions of `seen`: [group, output of the group, positions]."""
    if layer.node.is_op("Conv", "ConvTranspose"):
        taken = output[_EVERYTHING + positions.coordinates]
        flat = np.moveaxis(taken, 1, 0).reshape(layer.groups, layer.outputs // layer.groups, -1)
    else:
        flat = output.reshape(-1, layer.outputs).T[np.newaxis]
    return flat.astype(np.float64)


def held_out(first: int, samples: int, total: int | None, count: int) -> Bools:
    """Which positions of a batch no candidate is fitted to: [count].

    They are those of every fourth sample; of fewer samples than that, or where a batch is no stack of samples, the last
    quarter of the positions.
    """
    if count % samples or (total is not None and total < _EVERY):
        quarter: Bools = np.arange(count) * _EVERY // max(count, 1) == _EVERY - 1
        return quarter
    of_sample: Bools = np.arange(first, first + samples) % _EVERY == _EVERY - 1
    return np.repeat(of_sample, count // samples)


def require_certain_place(layer: Layer) -> None:
    """Raise NoMatch for a ConvTranspose whose padding follows from the sizes of its output."""
    node = layer.node
    if node.op != "ConvTranspose":
        return
    geometry = read_geometry(node, layer.weight.shape[2:])
    if geometry.auto_pad != "NOTSET" or attribute(node, "output_shape", None):
        raise NoMatch("where its output lies depends on the size of the data: it has auto_pad or output_shape")


def _windows(geometry: Geometry, data: Array, positions: Positions) -> Array:
    """What a Conv sees at the positions: [sample, channel, position, *kernel]."""
    extents = [(size - 1) * step + 1 for size, step in zip(geometry.kernel, geometry.dilations, strict=True)]
    around, at = [(0, 0), (0, 0)], []
    for axis, (size, extent, stride) in enumerate(zip(data.shape[2:], extents, geometry.strides, strict=True)):
        reach = (positions.sizes[axis] - 1) * stride + extent
        begin = geometry.pads[axis]
        if geometry.auto_pad != "NOTSET":  # operator specification, Conv
            begin = (max(reach - size, 0) + (geometry.auto_pad == "SAME_LOWER")) // 2
        around.append((begin, max(reach - size - begin, 0)))
        at.append(positions.coordinates[axis] * stride)
    taps = tuple(slice(None, None, step) for step in geometry.dilations)
    return _taken(np.pad(data, around), extents, at, taps)


def _transposed_windows(geometry: Geometry, data: Array, positions: Positions) -> Array:
    """What a ConvTranspose sees: it is a Conv with its taps reversed, upon data with zeros between them.

    y[q] = sum over t of u[q + begin - t d] w[t], where u has the data at multiples of the stride (operator
    specification, ConvTranspose).
    """
    extents, lengths, inside, at = [], [], [], []
    for axis, (size, stride) in enumerate(zip(data.shape[2:], geometry.strides, strict=True)):
        reach, length = (geometry.kernel[axis] - 1) * geometry.dilations[axis], (size - 1) * stride + 1
        extents.append(reach + 1)
        lengths.append(reach + max(length, geometry.pads[axis] + positions.sizes[axis]))
        inside.append(slice(reach, reach + length, stride))
        at.append(positions.coordinates[axis] + geometry.pads[axis])
    spread = np.zeros((*data.shape[:2], *lengths), data.dtype)
    spread[_EVERYTHING + tuple(inside)] = data
    taps = tuple(slice(None, None, -step) for step in geometry.dilations)
    return _taken(spread, extents, at, taps)


def _taken(data: Array, extents: list[int], at: list[npt.NDArray[np.intp]], taps: tuple[slice, ...]) -> Array:
    axes = tuple(range(2, data.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(data, extents, axes)
    return windows[_EVERYTHING + (slice(None),) * len(axes) + taps][_EVERYTHING + tuple(at)]
