"""Operators that move elements: where each index of an axis goes."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven import has
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.match import constant_of, is_given
from onnxopt.pruning.channels.links import Axis, Index, Joint, Links, Removal
from onnxopt.pruning.channels.written import set_integers, set_listed


def transpose(node: Node, links: Links) -> None:
    """Axis i of the output is axis perm[i]."""
    rank = links.rank(node.inputs[0])
    if rank is not None:
        for place, axis in enumerate(node.attr("perm") or range(rank)[::-1]):
            links.same(node.inputs[0], axis, node.outputs[0], place)


def squeeze(node: Node, links: Links) -> None:
    """Squeeze, Unsqueeze: axes of size 1 come or go."""
    short, long = node.inputs[0], node.outputs[0]
    if node.op == "Squeeze":
        short, long = long, short
    rank = links.rank(long)
    if rank is None or links.rank(short) is None:
        return
    if has(node, 1, "axes"):
        axes = links.ints(node, 1, "axes")
        if axes is None:
            return
        ones = {axis % rank for axis in axes}
    else:
        ones = {axis for axis in range(rank) if links.size(long, axis) == 1}
    for place, axis in enumerate(sorted(set(range(rank)) - ones)):
        links.same(short, place, long, axis)


def concat(node: Node, links: Links) -> None:
    """Along `axis` the inputs stand behind one another."""
    rank = links.rank(node.outputs[0])
    if rank is None:
        return
    axis = node.attr("axis", 1) % rank
    for tensor in node.inputs:
        for other in set(range(rank)) - {axis}:
            links.same(tensor, other, node.outputs[0], other)
    _stacked(node.outputs[0], list(node.inputs), axis, f"{node.op} '{node.name}'", links)


def split(node: Node, links: Links) -> None:
    """Along `axis` the outputs stand behind one another."""
    data = node.inputs[0]
    rank = links.rank(data)
    if rank is None:
        return
    axis = node.attr("axis", 0) % rank
    for tensor in node.outputs:
        for other in set(range(rank)) - {axis}:
            links.same(data, other, tensor, other)
    starts = _stacked(data, list(node.outputs), axis, f"{node.op} '{node.name}'", links)
    if starts is None:
        return

    def other_sizes(removal: Removal) -> None:
        kept = removal.of(data, axis)
        if kept is not None:
            counts = np.histogram(kept, starts)[0].tolist()
            node.attrs.pop("num_outputs", None)
            if links.opset < 13:
                node.attrs.setdefault("split", [])
            set_listed(removal.edit, node, 1, "split", counts)

    links.on_removal(other_sizes)


def _stacked(whole: Tensor, parts: list[Tensor], axis: int, who: str, links: Links) -> list[int] | None:
    """Join the parts of an axis; returns where they begin, and where the last ends."""
    counts = [size for part in parts if (size := links.size(part, axis)) is not None]
    if len(counts) < len(parts) or sum(counts) != links.size(whole, axis):
        return None
    starts = [0, *np.cumsum(counts).tolist()]
    for part, start, end in zip(parts, starts, starts[1:], strict=False):
        _piece(Axis(whole, axis), np.arange(start, end), Axis(part, axis), who, links)
    return starts


def _piece(whole: Axis, at: Index, part: Axis, who: str, links: Links) -> None:
    """Join indices of an axis with the whole of another; one alone is never removed."""
    if len(at) > 1:
        links.join(Joint(whole, part, at, np.arange(len(at))))
    else:
        links.fix(whole, f"{who} takes one channel by itself", at)


def slice_(node: Node, links: Links) -> None:
    """Slice with constant bounds and a step of 1: what lies between them; the rest is free."""
    data, output = node.inputs[0], node.outputs[0]
    rank = links.rank(data)
    starts, ends = links.ints(node, 1, "starts"), links.ints(node, 2, "ends")
    if rank is None or starts is None or ends is None:
        return
    axes = links.ints(node, 3, "axes") if has(node, 3, "axes") else list(range(len(starts)))
    steps = links.ints(node, 4, "") if is_given(node, 4) else [1] * len(starts)
    if axes is None or steps is None:
        return
    given = {axis % rank: place for place, axis in enumerate(axes)}
    bounds: dict[int, tuple[int, int, int]] = {}
    for axis in range(rank):
        place, size = given.get(axis), links.size(data, axis)
        if place is None:
            links.same(data, axis, output, axis)
        elif size is not None and steps[place] == 1 and size > 1:
            start, end, _ = slice(starts[place], ends[place]).indices(size)
            if end > start:
                _piece(Axis(data, axis), np.arange(start, end), Axis(output, axis), f"Slice '{node.name}'", links)
                bounds[axis] = (place, start, end)

    def other_bounds(removal: Removal) -> None:
        changed = False
        for axis, (place, start, end) in bounds.items():
            kept = removal.of(data, axis)
            if kept is not None:
                starts[place], ends[place] = int((kept < start).sum()), int((kept < end).sum())
                changed = True
        if changed:
            set_listed(removal.edit, node, 1, "starts", starts)
            set_listed(removal.edit, node, 2, "ends", ends)

    links.on_removal(other_bounds)


def gather(node: Node, links: Links) -> None:
    """Gather: constant indices say what comes from where; the rows of a table that is looked up in stay."""
    data, indices, output = node.inputs[0], node.inputs[1], node.outputs[0]
    rank, places = links.rank(data), links.rank(indices)
    if rank is None or places is None:
        return
    axis = node.attr("axis", 0) % rank
    for other in set(range(rank)) - {axis}:
        links.same(data, other, output, other if other < axis else other + places - 1)
        if constant_of(data) is not None:
            links.makes(node, 0, other)
    size, known = links.size(data, axis), known_value(indices)
    if known is None or size is None or size < 2 or places > 1:
        return
    at = np.asarray(known, np.int64).reshape(-1) % size
    if places == 0 or len(at) < 2:
        links.fix(Axis(data, axis), f"Gather '{node.name}' takes one index by itself", at)
        return
    links.join(Joint(Axis(data, axis), Axis(output, axis), at, np.arange(len(at))))
    links.same(indices, 0, output, axis)

    def other_indices(removal: Removal) -> None:
        kept, taken = removal.of(data, axis), removal.of(output, axis)
        if kept is not None:
            left = at if taken is None else at[taken]
            set_integers(removal.edit, node, 1, np.searchsorted(kept, left).astype(known.dtype))

    links.on_removal(other_indices)


def pad(node: Node, links: Links) -> None:
    """Pad: axes that get nothing."""
    rank = links.rank(node.inputs[0])
    pads = links.ints(node, 1, "pads")
    axes = links.ints(node, 3, "") if is_given(node, 3) else list(range(rank or 0))
    if rank is None or pads is None or axes is None:
        return
    count = len(axes)
    padded = {axis % rank for place, axis in enumerate(axes) if pads[place] or pads[place + count]}
    for axis in set(range(rank)) - padded:
        links.same(node.inputs[0], axis, node.outputs[0], axis)


def tile(node: Node, links: Links) -> None:
    """Tile: index i of the output is index i modulo the size."""
    data, output = node.inputs[0], node.outputs[0]
    repeats = links.ints(node, 1, "")
    for axis, times in enumerate(repeats or ()):
        size, whole = links.size(data, axis), links.size(output, axis)
        if size is not None and whole is not None and size > 1:
            at = np.arange(size * times)
            links.join(Joint(Axis(data, axis), Axis(output, axis), at % size, at))


def depth_to_space(node: Node, links: Links) -> None:
    """DepthToSpace: channel c of the output comes from the channels b C + c, or in mode CRD c B + b, of B blocks."""
    data, output = node.inputs[0], node.outputs[0]
    blocks = node.attr("blocksize", 1) ** 2
    links.same(data, 0, output, 0)
    wide, narrow = links.size(data, 1), links.size(output, 1)
    if wide and narrow and narrow > 1:
        at = np.arange(wide)
        which = at // blocks if node.attr("mode", "DCR") == "CRD" else at % narrow
        links.join(Joint(Axis(data, 1), Axis(output, 1), at, which))


def space_to_depth(node: Node, links: Links) -> None:
    """SpaceToDepth: channel b C + c of the output comes from channel c."""
    data, output = node.inputs[0], node.outputs[0]
    links.same(data, 0, output, 0)
    narrow, wide = links.size(data, 1), links.size(output, 1)
    if wide and narrow and narrow > 1:
        links.join(Joint(Axis(output, 1), Axis(data, 1), np.arange(wide), np.arange(wide) % narrow))
