"""Constants for what Reshape, Expand and Slice compute from shapes: 0 copies a dimension, -1 is what is left."""

from __future__ import annotations

from onnxopt import ir
from onnxopt.ir.proven import Dims, ProvenShapes, lowest
from onnxopt.ir.proven.extents import at_most, product

Numbers = list[int]
_EVERYTHING = 2**31 - 1
"""Where a slice ends that takes all there is; it fits both types that Slice takes."""
_NEVER_TWICE = 2
"""A place so far from the end is negative only on an axis so short that counting it from the end ends before it."""


def reshape_target(node: ir.Node, shapes: ProvenShapes) -> Numbers | str | None:
    """A constant target for a Reshape; or why there is none; or None where nothing is certain of its output."""
    data, made = shapes.dims(node.inputs[0]), shapes.dims(node.outputs[0])
    if made is None:
        return None
    target: Numbers = []
    for axis, size in enumerate(made):
        if isinstance(size, int) and size != 0:
            target.append(size)
        elif data is not None and axis < len(data) and data[axis] == size:
            target.append(0)
        elif size == 0 or -1 in target:
            return f"'{size}' is no number, and not the dimension at its place, and -1 can stand but once"
        else:
            target.append(-1)
    if -1 in target and not _may_infer(node, target.index(-1), made, shapes):
        return "-1 would be an error where another dimension is 0"
    return target


def _may_infer(node: ir.Node, place: int, made: Dims, shapes: ProvenShapes) -> bool:
    """Whether -1 can stand at a place: the model says so already, or no other dimension can be 0."""
    written = shapes.elements(node.inputs[1])
    if written is not None and written[place] == -1:
        return True
    low = lowest(product(size for axis, size in enumerate(made) if axis != place), shapes.nonempty)
    return low is not None and low >= 1


def expand_target(node: ir.Node, shapes: ProvenShapes) -> Numbers | str | None:
    """A constant target for an Expand: 1 keeps what is there."""
    data, made = shapes.dims(node.inputs[0]), shapes.dims(node.outputs[0])
    if data is None or made is None:
        return None
    wide = (1,) * (len(made) - len(data)) + data
    target: Numbers = []
    for size, there in zip(made, wide, strict=True):
        if size != there and not isinstance(size, int):
            return f"'{size}' is neither a number nor the dimension that is there"
        target.append(1 if size == there else size)  # type: ignore[arg-type]
    return target


def slice_bounds(node: ir.Node, index: int, shapes: ProvenShapes) -> Numbers | str | None:
    """Constant starts (`index` 1) or ends (2) for a Slice: counted from the end, or all there is."""
    data, places = shapes.dims(node.inputs[0]), shapes.elements(node.inputs[index])
    if data is None or places is None:
        return None
    axes = _numbers(node, 3, shapes, list(range(len(places))))
    steps = _numbers(node, 4, shapes, [1] * len(places))
    if axes is None or steps is None or not len(axes) == len(steps) == len(places):
        return None
    found: Numbers = []
    for place, axis, step in zip(places, axes, steps, strict=True):
        if isinstance(place, int):
            found.append(place)
            continue
        if place is None or step < 1 or not -len(data) <= axis < len(data):
            return None
        dim = data[axis]
        left = dim - place
        low = lowest(place)
        if at_most(dim, place):
            found.append(_EVERYTHING)
        elif isinstance(left, int) and left > 0 and (left <= _NEVER_TWICE or (low is not None and low >= 0)):
            found.append(-left)
        else:
            return f"'{place}' is no number, and not at a fixed distance from the end of the axis"
    return found


def _numbers(node: ir.Node, index: int, shapes: ProvenShapes, default: Numbers) -> Numbers | None:
    if index >= len(node.inputs) or not node.inputs[index].name:
        return default
    items = shapes.elements(node.inputs[index])
    found = [item for item in items or () if isinstance(item, int)]
    return found if items is not None and len(found) == len(items) else None
