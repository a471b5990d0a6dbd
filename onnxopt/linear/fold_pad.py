"""A zero Pad before a convolution becomes the convolution's own padding."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.linear.geometry import Sizes, read_geometry, write_geometry
from onnxopt.linear.match import Gate, NoMatch, attribute, in_scope, is_given, label, remove, required_constant


def fold_pads(edit: Edit, scope: Graph, node: Node, gate: Gate) -> int:
    """Fold into a Conv the zero Pads that its data come through, one after the other; return how many."""
    folded = 0
    while (pad := node.inputs[0].producer) is not None and pad.is_op("Pad"):
        padded = node.inputs[0]
        try:
            if not in_scope(edit, scope, pad):
                raise NoMatch(f"'{padded.name}' is computed outside the subgraph")
            if edit.sole_reader(padded) is not node:
                raise NoMatch(f"'{padded.name}' is read elsewhere too")
            weight = required_constant(node.inputs[1], "weight")
            more = read_zero_pad(pad, len(weight.shape), scope.opset)
            geometry = read_geometry(node, weight.shape[2:]).padded(more)
        except NoMatch as no:
            gate.refuse(f"not folded into {label(node)}: {no}", pad)
            break
        if not gate.allow(f"fold Pad into {label(node)}", pad):
            break
        write_geometry(node, geometry)
        edit.replace_input(node, 0, pad.inputs[0])
        remove(edit, pad)
        folded += 1
    return folded


def read_zero_pad(node: Node, rank: int, opset: int) -> Sizes:
    """What a Pad adds at the begin of each spatial axis, then at the end of each (operator specification, Pad).

    Raises:
        NoMatch: It adds something else than zeros, pads or crops another axis, or is not known before the model runs.
    """
    mode = attribute(node, "mode", "constant")
    if mode != "constant":
        raise NoMatch(f"its mode is {mode}")
    if opset < 11:
        value = attribute(node, "value", 0.0)
        pads = attribute(node, "pads" if opset >= 2 else "paddings", [])
    else:
        value = _known_numbers(node, 2, "value", [0])[0]
        pads = _known_numbers(node, 1, "pads", [])
    if value != 0:
        raise NoMatch(f"it pads with {value}, not with zero")
    axes = _known_numbers(node, 3, "axes", range(rank)) if opset >= 18 else list(range(rank))
    if len(pads) != 2 * len(axes):
        raise NoMatch(f"it has {len(pads)} pads for {len(axes)} axes")
    begins, ends = [0] * rank, [0] * rank
    for axis, begin, end in zip(axes, pads, pads[len(axes) :], strict=False):
        begins[axis], ends[axis] = int(begin), int(end)
    if any(begins[:2] + ends[:2]):
        raise NoMatch("it pads the batch or the channels")
    if min(begins + ends) < 0:
        raise NoMatch("it crops: a pad is negative")
    return (*begins[2:], *ends[2:])


def _known_numbers(node: Node, index: int, role: str, default: range | list[int]) -> list[int]:
    if not is_given(node, index):
        return list(default)
    value = known_value(node.inputs[index])
    if value is None:
        raise NoMatch(f"its {role} '{node.inputs[index].name}' are computed at run time: run fold-constants first")
    found: list[int] = value.reshape(-1).tolist()
    return found or list(default)
