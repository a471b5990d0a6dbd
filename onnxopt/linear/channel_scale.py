"""Per-channel arithmetic that stands alone is a 1x1 depthwise convolution written otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.linear.affine import (
    ARITHMETIC,
    Affine,
    Channels,
    data_input,
    is_per_channel,
    looks_affine,
    read_affine,
)
from onnxopt.linear.geometry import known_shape, read_geometry
from onnxopt.linear.match import Gate, NoMatch, constant_of, in_scope, label, remove, rounded

_TYPES = {np.dtype(np.float16), np.dtype(np.float32)}
"""Runtimes have no Conv of doubles."""
_STEPS = ("BatchNormalization", *ARITHMETIC)


def scale_as_depthwise(edit: Edit, scope: Graph, first: Node, gate: Gate) -> bool:
    """Turn two or more affine operations in a row, beginning with `first`, into one 1x1 depthwise Conv.

    Return whether it did. One operation alone costs less as it is; and where a layer stands next to the chain, the
    chain belongs into that layer's weights.
    """
    data = data_input(first) if first.is_op(*_STEPS) else None
    if data is None or not looks_affine(first, data) or _continues(edit, data):
        return False
    chain = _chain(edit, scope, first)
    if not any(is_per_channel(node, source) for node, source in chain):
        return False
    if len(chain) == 1 and first.is_op("BatchNormalization"):
        return False
    try:
        data, taken, affine = _compose(chain, scope.opset)
        _require_no_layer(edit, data, taken[-1])
        dtype = _dtype(data, taken)
        weight = rounded(affine.scale, dtype, "scale")
        bias = rounded(affine.shift, dtype, "shift")
    except NoMatch as no:
        gate.refuse(f"not made a 1x1 depthwise Conv: {no}", first)
        return False
    if not gate.allow(f"make {len(taken)} per-channel operations a 1x1 depthwise Conv", first):
        return False
    result = taken[-1].outputs[0]
    name = taken[0].name or result.name
    taken[-1].outputs.clear()
    constants = [
        Constant(edit.fresh(f"{name}_weight"), weight.reshape(-1, *[1] * (len(known_shape(data) or ()) - 1))),
        Constant(edit.fresh(f"{name}_bias"), bias),
    ]
    conv = Node("Conv", taken[0].name, {"group": len(bias)}, [data, *constants], [result])
    edit.insert_before(taken[0], conv)
    for node in reversed(taken):
        remove(edit, node)
    return True


def _continues(edit: Edit, data: Tensor) -> bool:
    """Whether the data come from another operation of the same chain, where the chain was looked at already."""
    before = data.producer
    if before is None or not before.is_op(*_STEPS) or edit.sole_reader(data) is None:
        return False
    source = data_input(before)
    return source is not None and looks_affine(before, source)


def _chain(edit: Edit, scope: Graph, first: Node) -> list[tuple[Node, Tensor]]:
    """Operations one upon the other, each with its data."""
    chain: list[tuple[Node, Tensor]] = []
    node: Node | None = first
    while node is not None and node.is_op(*_STEPS) and in_scope(edit, scope, node):
        data = data_input(node)
        if data is None or not looks_affine(node, data):
            break
        chain.append((node, data))
        node = edit.sole_reader(node.outputs[0])
    return chain


def _channels(data: Tensor) -> Channels:
    shape = known_shape(data)
    if shape is None or not 3 <= len(shape) <= 5 or not isinstance(shape[1], int) or shape[1] < 2:
        known = "unknown" if shape is None else str(shape)
        raise NoMatch(f"'{data.name}' of shape {known} is no image of two or more channels; run infer-shapes first")
    return Channels(1, shape[1], len(shape))


def _compose(chain: list[tuple[Node, Tensor]], opset: int) -> tuple[Tensor, list[Node], Affine]:
    """The first two or more operations of a chain that are per-channel, as one: their data, they, the operation.

    s2 (s1 x + t1) + t2 = s2 s1 x + (s2 t1 + t2).
    """
    taken: list[Node] = []
    start, reason = chain[0][1], ""
    for node, data in chain:
        try:
            if not taken:
                start, channels = data, _channels(data)
                whole = Affine(np.ones(channels.count), np.zeros(channels.count))
            step = read_affine(node, data, channels, opset)
        except NoMatch as no:
            if len(taken) > 1:
                break
            taken, reason = [], reason or str(no)
            continue
        whole = Affine(step.scale * whole.scale, step.scale * whole.shift + step.shift)
        taken.append(node)
    if len(taken) < 2:
        raise NoMatch(reason or f"one {chain[0][0].op} costs less")
    return start, taken, whole


def _require_no_layer(edit: Edit, data: Tensor, last: Node) -> None:
    before = data.producer
    if before is not None and before.is_op("Conv", "ConvTranspose") and edit.sole_reader(data) is not None:
        raise NoMatch(f"{label(before)} before it can take it into its weights: run fuse-conv-bn")
    after = edit.sole_reader(last.outputs[0])
    if after is None or not after.is_op("Conv") or (weight := constant_of(after.inputs[1])) is None:
        return
    if not read_geometry(after, weight.shape[2:]).pads_data:
        raise NoMatch(f"{label(after)} after it can take it into its weights: run fuse-conv-bn")


def _dtype(data: Tensor, nodes: list[Node]) -> np.dtype[Any]:
    dtype = data.dtype
    for node in nodes:
        if dtype is None and node.is_op(*ARITHMETIC):  # a BatchNormalization may have parameters of another type
            dtype = next(tensor.dtype for tensor in map(constant_of, node.inputs) if tensor is not None)
    if dtype not in _TYPES:
        raise NoMatch(f"runtimes have no Conv of {dtype}")
    return np.dtype(dtype)
