"""What TensorRT's builder carries a DequantizeLinear through, so that the layer behind it still reads integers."""

from __future__ import annotations

import math

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.values import Array
from onnxopt.quantization.legality.facts import MOVES, Coding, Facts, Site, coding

_REGROUPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_CARRIED = (
    *MOVES, "Cast", "DepthToSpace", "Dropout", "Expand", "Gather", "GlobalMaxPool", "MaxPool", "ReduceMax", "Slice",
    "SpaceToDepth", "Split", "Tile",
)  # fmt: skip
"""Measured with TensorRT-RTX 1.7. Behind Add, AveragePool, Clip, Relu or Resize a layer runs in float."""


def arriving(tensor: ir.Tensor, opset: int) -> Coding | None:
    """The DequantizeLinear whose integers arrive as a tensor; None where floats do.

    Through Concat integers arrive where all its inputs are dequantized with one scale; through a Pad with what is there
    already, or with zeros where it becomes part of the Conv.
    """
    pending, seen, found = [tensor], {tensor}, list[Coding]()
    while pending:
        node = pending.pop().producer
        if node is None:
            return None
        one = coding(node, opset)
        if one is not None:
            if one.is_quantize:
                return None
            found.append(one)
        elif node.is_op("Concat") or node.is_op(*_CARRIED) or _is_carried_pad(node):
            read = node.inputs if node.is_op("Concat") else node.inputs[:1]
            pending += [each for each in dict.fromkeys(read) if each not in seen]
            seen.update(read)
        else:
            return None
    return found[0] if all(_is_same(one, found[0]) for one in found) else None


def _is_carried_pad(node: ir.Node) -> bool:
    if not node.is_op("Pad"):
        return False
    if node.attr("mode", "constant") != "constant":
        return True
    readers = node.outputs[0].outputs
    if len(readers) != 1 or not readers[0].is_op("Conv"):
        return False
    pads, value, axes = (_given(node, index) for index in (1, 2, 3))
    if pads is None or (value is not None and value.any()):
        return False
    along = range(len(pads) // 2) if axes is None else axes.tolist()
    sizes = zip(along, pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=False)
    return not any(axis in (0, 1) and (before or after) for axis, before, after in sizes)


def _given(node: ir.Node, index: int) -> Array | None:
    return known_value(node.inputs[index]) if index < len(node.inputs) and node.inputs[index].name else None


def _is_same(one: Coding, other: Coding) -> bool:
    if one.node is other.node:
        return True
    scales = one.scale, other.scale
    is_equal = scales[0] is not None and scales[1] is not None and np.array_equal(scales[0], scales[1])
    return is_equal and one.integers == other.integers


def axis_at(site: Site, index: int, found: Coding, facts: Facts) -> int | None:
    """The axis of a coding's scales as the layer sees it, from the start; None where that is not known."""
    tensor = site.node.inputs[index]
    between: list[ir.Node] = []
    while tensor.producer is not None and tensor.producer is not found.node:
        between.append(tensor.producer)
        tensor = tensor.producer.inputs[0]
    shape = facts.shapes.shape(found.result)
    if shape is None or found.axis is None:
        return None
    axis: int | None = found.axis + len(shape) * (found.axis < 0)
    for node in reversed(between):
        if axis is None:
            break
        axis = _moved(node, axis, facts)
    return axis


def _moved(node: ir.Node, axis: int, facts: Facts) -> int | None:
    before, after = facts.shapes.shape(node.inputs[0]), facts.shapes.shape(node.outputs[0])
    if node.is_op("Transpose") and before is not None:
        perm = node.attr("perm") or list(reversed(range(len(before))))
        return perm.index(axis) if axis in perm else None
    if not node.is_op(*_REGROUPING):
        return axis
    if before is None or after is None or None in (*before, *after):
        return None
    # an axis is still there where as many elements stand before it, and it is as long
    sizes, volume = [size or 0 for size in after], math.prod(size or 0 for size in before[:axis])
    return next((at for at, size in enumerate(sizes) if size == before[axis] and math.prod(sizes[:at]) == volume), None)
