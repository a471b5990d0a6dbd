"""Rules of operators that take parts: Slice and the Gather family."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.extents import at_most, floor_quotient, larger, smaller
from onnxopt.ir.proven.facts import Dims, Facts, Open, axes_in, axis_in, int_of, unknown

EVERYTHING = 2**31 - 1
"""From this end on, a slice is taken to reach the end of its axis: exporters write it, or 2**63 - 1, for "all"."""


def slice_(node: Node, facts: Facts) -> Open | None:
    """Slice."""
    data = facts.dims(node, 0)
    if data is None:
        return None
    dims: list[int | Dim | None] = list(data)
    cuts = slice_cuts(node, facts, len(data))
    if cuts is None:
        return unknown(len(data))
    for axis, start, end, step in cuts:
        dims[axis] = _length(data[axis], start, end, step, facts)
    return tuple(dims)


Cut = tuple[int, "int | Dim | None", "int | Dim | None", "int | Dim | None"]


def slice_cuts(node: Node, facts: Facts, rank: int) -> list[Cut] | None:
    """Axis, start, end and step of each cut; None where not even the axes are certain."""
    starts, ends = facts.extents(node, 1, "starts"), facts.extents(node, 2, "ends")
    if starts is None or ends is None or len(starts) != len(ends):
        return None
    axes = axes_in(range(len(starts)), rank)
    if "axes" in node.attrs or facts.has(node, 3):
        given = facts.ints(node, 3, "axes")
        axes = None if given is None else axes_in(given, rank)
    steps = facts.extents(node, 4, "steps") if facts.has(node, 4) else (1,) * len(starts)
    if axes is None or steps is None or not len(axes) == len(starts) == len(steps) or len(set(axes)) < len(axes):
        return None
    return list(zip(axes, starts, ends, steps, strict=True))


def _length(
    dim: int | Dim, start: int | Dim | None, end: int | Dim | None, step: int | Dim | None, facts: Facts
) -> int | Dim | None:
    if start is None or end is None or not isinstance(step, int) or step == 0:
        return None
    if isinstance(dim, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*slice(start, end, step).indices(dim)))
    if step < 0:
        whole = isinstance(start, int) and isinstance(end, int) and end <= -EVERYTHING
        whole = whole and (start == -1 or (isinstance(start, int) and start >= EVERYTHING))
        return floor_quotient(dim - 1 - step, -step) if whole else None
    if isinstance(start, int) and isinstance(end, int) and start < 0 and end >= EVERYTHING:  # the last -start of them
        return floor_quotient(smaller(dim, -start) + (step - 1), step)
    first, last = _counted(start, dim, facts), _clamped(end, dim, facts)
    if first is None or last is None:
        return None
    return floor_quotient(larger_of(last - first, 0, facts) + (step - 1), step)


def _counted(place: int | Dim, dim: int | Dim, facts: Facts) -> int | Dim | None:
    """A start or an end counted from the front of an axis; None where it is not certain from which side it counts."""
    if isinstance(place, int):
        return place if place >= 0 else 0 if place <= -EVERYTHING else larger_of(dim + place, 0, facts)
    return place if facts.at_least(place, 0) else None


def _clamped(place: int | Dim, dim: int | Dim, facts: Facts) -> int | Dim | None:
    """The same, at most the end of the axis."""
    if isinstance(place, int) and place >= EVERYTHING:
        return dim
    place_ = _counted(place, dim, facts)
    if place_ is None or (isinstance(place, int) and place < 0) or at_most(place_, dim):
        return place_
    return dim if at_most(dim, place_) else smaller(place_, dim)


def larger_of(one: int | Dim, other: int, facts: Facts) -> int | Dim:
    """The larger of two, under the assumption that the facts are under."""
    return one if facts.at_least(one, other) else larger(one, other)


def gather(node: Node, facts: Facts) -> Dims | None:
    """Gather."""
    data, indices, axis = facts.dims(node, 0), facts.dims(node, 1), int_of(node, "axis", 0)
    if data is None or indices is None or (axis := axis_in(axis, len(data))) is None:
        return None
    return (*data[:axis], *indices, *data[axis + 1 :])


def second(node: Node, facts: Facts) -> Dims | None:
    """As the second input: GatherElements."""
    return facts.dims(node, 1)


def gather_nd(node: Node, facts: Facts) -> Dims | None:
    """GatherND."""
    data, indices, batch = facts.dims(node, 0), facts.dims(node, 1), int_of(node, "batch_dims", 0)
    if data is None or not indices or batch is None or not isinstance(indices[-1], int):
        return None
    return (*indices[:-1], *data[batch + indices[-1] :])


def compress(node: Node, facts: Facts) -> Open | None:
    """Compress: how much is kept is decided by data."""
    data, axis = facts.dims(node, 0), node.attrs.get("axis")
    if axis is None:
        return (None,)
    if data is None or not isinstance(axis, int) or (axis := axis_in(axis, len(data))) is None:
        return None
    return (*data[:axis], None, *data[axis + 1 :])


def roi_align(node: Node, facts: Facts) -> Open | None:
    """RoiAlign."""
    data, rois = facts.dims(node, 0), facts.dims(node, 1)
    if data is None or rois is None or len(data) != 4 or not rois:
        return None
    return (rois[0], data[1], int_of(node, "output_height", 1), int_of(node, "output_width", 1))


def grid_sample(node: Node, facts: Facts) -> Dims | None:
    """GridSample."""
    data, grid = facts.dims(node, 0), facts.dims(node, 1)
    return None if data is None or grid is None or len(grid) != len(data) else (*data[:2], *grid[1:-1])


def scaled(node: Node, facts: Facts) -> Open | None:
    """Resize and Upsample, by sizes or by scales (operator specification: floor of dimension times scale)."""
    data = facts.dims(node, 0)
    if data is None:
        return None
    rank = len(data)
    is_resize = node.op == "Resize"
    given = node.attrs.get("axes", list(range(rank)))
    axes = axes_in(given, rank) if isinstance(given, list) else None
    plain = node.attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    crops = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if axes is None or not plain:
        return unknown(rank)
    dims: list[int | Dim | None] = list(data)
    sizes = facts.extents(node, 3, "") if is_resize and facts.has(node, 3) else None
    if is_resize and facts.has(node, 3):
        if sizes is None or len(sizes) != len(axes):
            return unknown(rank)
        for axis, size in zip(axes, sizes, strict=True):
            dims[axis] = size if facts.at_least(size, 0) else None
        return tuple(dims)
    place = 2 if is_resize and facts.opset >= 11 else 1
    scales = node.attrs.get("scales") or facts.items(node, place)
    if crops or not isinstance(scales, (list, tuple)) or len(scales) != len(axes):
        return unknown(rank)
    for axis, scale in zip(axes, scales, strict=True):
        dims[axis] = _times(data[axis], scale)
    return tuple(dims)


def _times(dim: int | Dim, scale: object) -> int | Dim | None:
    """A dimension times a scale, rounded down, as float32 gives it (dimensions of up to 2**24 are exact there)."""
    if not isinstance(scale, (int, float)) or scale <= 0:
        return None
    if isinstance(dim, int):
        import numpy as np

        return int(np.float32(scale) * np.float32(dim))
    if float(scale).is_integer():
        return dim * int(scale)
    parts = 1 / float(scale)
    return floor_quotient(dim, int(parts)) if parts in (2.0, 4.0, 8.0, 16.0, 32.0) else None
