"""Channels of zeros added to a region."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Variable
from onnxopt.linear.channel_region import Region
from onnxopt.linear.match import constant_of, is_given, remove_if_dead


def weights_of(region: Region) -> int:
    """How many numbers the constants hold that grow with the region."""
    uses = [*((node, index) for node, index, _, _ in _growing(region))]
    return sum(math.prod(found.shape) for node, index in uses if (found := constant_of(node.inputs[index])) is not None)


def pad_region(edit: Edit, region: Region, channels: int) -> None:
    """Give all that is in a region this many channels, those that are new at the end.

    The weights that make them and those that read them are 0, and so are their biases.
    """
    made: dict[tuple[int, int, float], Constant] = {}
    more = channels - region.channels
    for node, index, axis, fill in _growing(region):
        old = constant_of(node.inputs[index])
        assert old is not None
        key = (id(old), axis, fill)
        if key not in made:
            made[key] = _grown(edit, node, index, axis, more, fill)
        if node.inputs[index] is not made[key]:
            replaced = node.inputs[index]
            edit.replace_input(node, index, made[key])
            remove_if_dead(edit, replaced)
    for node in region.depthwise:
        node.attrs["group"] = channels
    for tensor in region.tensors:
        if isinstance(tensor, Variable) and tensor.shape is not None and len(tensor.shape) == region.rank:
            tensor.shape[1] = channels
    edit.changed = True


def _growing(region: Region) -> list[tuple[Node, int, int, float]]:
    """The constants that get longer: node, input, axis, and what they get."""
    found = [(node, 1, 1, 0.0) for node in region.readers]
    for node in (*region.writers, *region.depthwise):
        found += [(node, index, 0, 0.0) for index in (1, 2) if is_given(node, index)]
    for (node, index), fill in region.operands.items():
        constant = constant_of(node.inputs[index])
        assert constant is not None
        found.append((node, index, len(constant.shape) - region.rank + 1, fill))
    return found


def _grown(edit: Edit, node: Node, index: int, axis: int, more: int, fill: float) -> Constant:
    """The constant with `more` numbers along `axis`: the same one under its name where nobody else reads it."""
    tensor = node.inputs[index]
    old = constant_of(tensor)
    assert old is not None
    values = old.read()
    tail = np.full((*values.shape[:axis], more, *values.shape[axis + 1 :]), fill, values.dtype)
    grown = np.concatenate([values, tail], axis)
    if isinstance(tensor, Constant) and edit.sole_reader(tensor) is node:
        tensor.values = grown
        return tensor
    return Constant(edit.fresh(f"{tensor.name}_padded"), grown)
