"""Integers given to nodes that tell numbers of channels: whether they can be written anew, and writing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Variable
from onnxopt.linear.match import remove_if_dead
from onnxopt.pruning.channels.links import Links


def is_writable(links: Links, node: Node, index: int, element: int) -> bool:
    """Whether one integer of an input is constant, be it as a part of a Concat, so that another can stand there."""
    if index >= len(node.inputs) or known_value(node.inputs[index]) is not None:
        return True
    return _part(links, node, index, element) is not None


def write_element(links: Links, edit: Edit, node: Node, index: int, element: int, value: int) -> None:
    """Let one integer of an input be `value`, for this node alone; -1, which a Reshape works out, stays."""
    tensor = node.inputs[index]
    known = known_value(tensor)
    if known is not None:
        if known.reshape(-1)[element] != -1:
            changed = np.array(known)
            changed.reshape(-1)[element] = value
            set_integers(edit, node, index, changed)
        return
    part = _part(links, node, index, element)
    assert part is not None
    old = known_value(tensor.producer.inputs[part[0]])
    assert old is not None
    if old.reshape(-1)[part[1]] == -1:
        return
    changed = np.array(old)
    changed.reshape(-1)[part[1]] = value
    concat = tensor.producer
    inputs = list(concat.inputs)
    inputs[part[0]] = Constant(edit.fresh(f"{inputs[part[0]].name}_pruned"), changed)
    output = Variable(edit.fresh(f"{tensor.name}_pruned"), changed.dtype, tensor.shape)
    edit.insert_before(node, Node("Concat", edit.fresh(concat.name or "Concat"), {"axis": 0}, inputs, [output]))
    edit.replace_input(node, index, output)
    if not edit.is_used(tensor):
        edit.remove(concat)


def set_integers(edit: Edit, node: Node, index: int, values: np.ndarray) -> None:
    """Give a node other constant integers, for itself."""
    if index >= len(node.inputs):
        node.inputs.append(Constant(edit.fresh(f"{node.name or node.outputs[0].name}_sizes"), values))
        edit.changed = True
        return
    old = node.inputs[index]
    edit.replace_input(node, index, Constant(edit.fresh(f"{old.name}_pruned"), values))
    remove_if_dead(edit, old)


def set_listed(edit: Edit, node: Node, index: int, name: str, values: Sequence[int]) -> None:
    """Integers that are an attribute or an input, wherever they are."""
    if name in node.attrs:
        node.attrs[name] = list(values)
        edit.changed = True
    else:
        old = known_value(node.inputs[index]) if index < len(node.inputs) else None
        set_integers(edit, node, index, np.asarray(values, np.int64 if old is None else old.dtype))


def write_sizes(links: Links, edit: Edit, node: Node, index: int, values: Mapping[int, int]) -> None:
    """Several integers of an input, by their place."""
    for element, value in values.items():
        write_element(links, edit, node, index, element, value)


def _part(links: Links, node: Node, index: int, element: int) -> tuple[int, int] | None:
    """The input of the Concat that makes the integers where this one is constant, and its place there."""
    producer = node.inputs[index].producer
    if producer is None or not producer.is_op("Concat"):
        return None
    start = 0
    for place, tensor in enumerate(producer.inputs):
        size = links.size(tensor, 0)
        if size is None:
            return None
        if element < start + size:
            return None if known_value(tensor) is None else (place, element - start)
        start += size
    return None
