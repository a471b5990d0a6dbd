"""Which channels of a layer come to a place behind nodes that arrange elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven import ProvenShapes, ints
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.match import NoMatch

_ALL = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
SELECTING = ("Gather", "Split")
"""Those of which the output has some of the elements only."""
ARRANGING = (*_ALL, *SELECTING)
"""Operators whose output has elements of the first input, each in one place."""
Chosen = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


def selected_channels(path: Sequence[tuple[Node, Tensor]], channels: int, shapes: ProvenShapes) -> Chosen:
    """Which channels, of those on the last axis, the last tensor of a path holds: bool of shape [channels].

    Args:
        path: Nodes of `ARRANGING`, each with the output that is followed; the first reads the layer's output.
        channels: How many channels the layer's output has.
        shapes: Of the model.

    Raises:
        NoMatch: A Split or Gather takes other than whole channels, or that is not certain.
    """
    count = max((place + 1 for place, (node, _) in enumerate(path) if node.op in SELECTING), default=0)
    if not count:
        return np.ones(channels, bool)
    given = shapes.shape(path[0][0].inputs[0])
    if given is None or given[-1:] != (channels,):
        raise NoMatch(f"the shape of '{path[0][0].inputs[0].name}' is not certain")
    places = np.arange(channels).reshape([1] * (len(given) - 1) + [channels])
    """As many axes as the data, 1 long where the places along it are of the same channels."""
    for node, output in path[:count]:
        places = _arranged(node, output, places, channels, shapes)
    chosen = np.zeros(channels, bool)
    chosen[places.reshape(-1)] = True
    return chosen


def _spread(node: Node, channels: int, shapes: ProvenShapes) -> Places:
    """The channels as a Reshape lays them out: the last axes of its output hold them, where those are as many."""
    made = shapes.shape(node.outputs[0])
    if made is None:
        raise NoMatch(f"the shape of '{node.outputs[0].name}' is not certain")
    for first in range(len(made) - 1, -1, -1):
        sizes = [size for size in made[first:] if size is not None]
        if len(sizes) < len(made) - first or math.prod(sizes) > channels:
            break
        if math.prod(sizes) == channels:
            return np.arange(channels).reshape([1] * first + sizes)
    raise NoMatch("a Reshape between mixes channels with positions")


def _arranged(node: Node, output: Tensor, places: Places, channels: int, shapes: ProvenShapes) -> Places:
    rank = places.ndim
    if node.op == "Identity":
        return places
    if node.op == "Reshape" and places.shape[-1] == channels:
        return _spread(node, channels, shapes)
    if node.op == "Transpose":
        perm = node.attr("perm", list(range(rank))[::-1])
        if isinstance(perm, list) and sorted(perm) == list(range(rank)):
            turned: Places = places.transpose(perm)
            return turned
    elif node.op == "Squeeze":
        axes = ints(node, 1, "axes")
        if axes is not None and all(-rank <= axis < rank and places.shape[axis] == 1 for axis in axes):
            squeezed: Places = places.squeeze(tuple({axis % rank for axis in axes}))
            return squeezed
    elif node.op == "Gather":
        axis, index = node.attr("axis", 0), known_value(node.inputs[1])
        if isinstance(axis, int) and -rank <= axis < rank and index is not None and places.shape[axis] > 1:
            size = places.shape[axis]
            if index.ndim == 0 and -size <= int(index) < size:
                taken: Places = np.take(places, int(index), axis)
                return taken
    elif node.op == "Split":
        part = _part(node, output, places)
        if part is not None:
            return part
    raise NoMatch(f"a {node.op} between takes other than whole channels")


def _part(node: Node, output: Tensor, places: Places) -> Places | None:
    axis, sizes = node.attr("axis", 0), ints(node, 1, "split")
    if not isinstance(axis, int) or not -places.ndim <= axis < places.ndim or places.shape[axis] == 1:
        return None
    if sizes is None and not (len(node.inputs) > 1 and node.inputs[1].name) and "split" not in node.attrs:
        count = len(node.outputs)
        each = -(-places.shape[axis] // count)
        sizes = [each] * (count - 1) + [places.shape[axis] - each * (count - 1)]
    if sizes is None or sum(sizes) != places.shape[axis] or min(sizes) < 0:
        return None
    index = next(place for place, made in enumerate(node.outputs) if made is output)
    start = sum(sizes[:index])
    taken: Places = np.take(places, range(start, start + sizes[index]), axis)
    return taken
