"""Operators that are given sizes: Resize, Expand, and Shape, which gives them out."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven import ints
from onnxopt.linear.match import is_given
from onnxopt.pruning.channels.links import Axis, Links, Removal
from onnxopt.pruning.channels.written import is_writable, write_sizes


def resize(node: Node, links: Links) -> None:
    """Resize, Upsample: axes that are not scaled; a size that is given for one is written anew."""
    data, output = node.inputs[0], node.outputs[0]
    rank = links.rank(data)
    if rank is None or node.attr("coordinate_transformation_mode") in ("tf_crop_and_resize", b"tf_crop_and_resize"):
        return
    axes = [axis % rank for axis in node.attr("axes") or range(rank)]
    sizes_at = 3 if is_given(node, 3) and node.op == "Resize" else None
    scales_at = 1 if node.op == "Upsample" or links.opset < 11 else 2
    scales = node.attr("scales") or (known_value(node.inputs[scales_at]) if is_given(node, scales_at) else None)
    places: dict[int, int] = {}
    for axis in range(rank):
        if axis in axes:
            place = axes.index(axis)
            if sizes_at is not None and is_writable(links, node, sizes_at, place):
                places[axis] = place
            elif sizes_at is not None or scales is None or np.reshape(scales, -1)[place] != 1:
                continue
        links.same(data, axis, output, axis)
    if sizes_at is not None:
        links.on_removal(lambda removal: _rewrite(links, removal, node, 3, places))


def expand(node: Node, links: Links) -> None:
    """Expand: axes that have their size already."""
    data, output = node.inputs[0], node.outputs[0]
    rank, own, length = links.rank(output), links.rank(data), links.size(node.inputs[1], 0)
    if rank is None or own is None or length is None:
        return
    places: dict[int, int] = {}
    for axis in range(own):
        place = axis + rank - own
        element = place - (rank - length)
        if element < 0 or is_writable(links, node, 1, element):
            links.same(data, axis, output, place)
            if element >= 0:
                places[place] = element
    links.on_removal(lambda removal: _rewrite(links, removal, node, 1, places))


def _rewrite(links: Links, removal: Removal, node: Node, index: int, places: dict[int, int]) -> None:
    for axis, place in places.items():
        kept = removal.of(node.outputs[0], axis)
        if kept is None:
            continue
        known = links.ints(node, index, "")
        if known is None or known[place] != 1:
            write_sizes(links, removal.edit, node, index, {place: len(kept)})


def shape(node: Node, links: Links) -> None:
    """Shape: the sizes that somebody looks at stay."""
    data = node.inputs[0]
    rank = links.rank(data)
    if rank is None or node.op == "Size":
        return
    given = list(range(rank))[node.attr("start", 0) : node.attr("end", rank)]
    seen: set[int] = set()
    if links.edit.is_output(node.outputs[0]):
        return
    for reader in node.outputs[0].outputs:
        seen.update(_looked_at(reader, given))
    for axis in set(range(rank)) - seen:
        links.frees(Axis(data, axis))


def _looked_at(reader: Node, given: list[int]) -> list[int]:
    if reader.is_op("Gather") and not reader.attr("axis", 0):
        known = known_value(reader.inputs[1])
        if known is not None:
            return [given[int(index)] for index in np.reshape(known, -1) if -len(given) <= index < len(given)]
    if reader.is_op("Slice") and not is_given(reader, 4):
        starts, ends = ints(reader, 1, "starts"), ints(reader, 2, "ends")
        if starts and ends and len(starts) == len(ends) == 1:
            return given[starts[0] : ends[0]]
    return given
