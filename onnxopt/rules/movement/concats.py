"""What a Concat joins, and what is taken of a Concat, by dimensions that are certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxopt import ir
from onnxopt.ir.proven import Dim, Dims, ProvenShapes, has, ints, lowest

Extent = int | Dim


def concat_axis(node: ir.Node, shapes: ProvenShapes, opset: int) -> int | None:
    """The axis of a Concat, from the front where the rank is certain; None where it is not known."""
    axis = node.attr("axis", 1 if opset < 4 else None)
    if not isinstance(axis, int):
        return None
    return from_front(axis, next((dims for t in node.inputs if (dims := shapes.dims(t)) is not None), None))


def from_front(axis: int, dims: Dims | None) -> int | None:
    """An axis, counted from the front; None where it is counted from the back of what has no certain rank."""
    if axis >= 0:
        return axis
    return None if dims is None else axis + len(dims)


def split_axis(node: ir.Node, shapes: ProvenShapes) -> int | None:
    """The axis of a Split."""
    axis = node.attr("axis", 0)
    return from_front(axis, shapes.dims(node.inputs[0])) if isinstance(axis, int) else None


def extent(tensor: ir.Tensor, axis: int, shapes: ProvenShapes) -> Extent | None:
    """The size of a tensor along an axis."""
    dims = shapes.dims(tensor)
    return dims[axis] if dims is not None and axis < len(dims) else None


def slice_span(node: ir.Node, axis: int, shapes: ProvenShapes) -> tuple[Extent, Extent] | None:
    """Start and end of what a Slice takes along this one axis, in steps of 1; None where that is not certain."""
    size = extent(node.inputs[0], axis, shapes)
    length = extent(node.outputs[0], axis, shapes)
    start = _only(node, 1, "starts", shapes)
    axes = ints(node, 3, "axes") if has(node, 3, "axes") else [0]
    steps = ints(node, 4, "steps") if has(node, 4, "steps") else [1]
    if start is None or axes is None or len(axes) != 1 or steps != [1] or length is None:
        return None
    if from_front(axes[0], shapes.dims(node.inputs[0])) != axis:
        return None
    if isinstance(start, int) and start < 0:
        if not isinstance(size, int) or start + size < 0:
            return None
        start = start + size
    low = lowest(start)
    if low is None or low < 0:  # it may count from the end
        return None
    return start, start + length


def _only(node: ir.Node, index: int, name: str, shapes: ProvenShapes) -> Extent | None:
    """The one item of such integers."""
    items: Sequence[Extent | None] | None = ints(node, index, name)
    if items is None and index < len(node.inputs):
        items = shapes.elements(node.inputs[index])
    return items[0] if items is not None and len(items) == 1 else None


def whole_runs(
    parts: Sequence[ir.Tensor], pieces_of: Callable[[ir.Tensor], tuple[ir.Tensor, int, int] | None]
) -> list[tuple[int, int, ir.Tensor]]:
    """Runs of neighbours among `parts` that are all pieces of one tensor, in order.

    `pieces_of` tells of a piece its tensor, its number and how many there are. Returns first index, index behind the
    last, and the tensor.
    """
    runs = []
    start, at = 0, 0
    while at < len(parts):
        piece = pieces_of(parts[at])
        if piece is None or piece[1] != 0:
            at += 1
            continue
        start, (whole, _, count) = at, piece
        while at < len(parts) and pieces_of(parts[at]) == (whole, at - start, count) and at - start < count:
            at += 1
        if at - start == count:
            runs.append((start, at, whole))
    return runs
