"""Split or Slices, one Conv for each piece and a Concat are one grouped Conv written otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.geometry import read_geometry
from onnxopt.linear.layer import Array, Layer, read_layer
from onnxopt.linear.match import (
    Gate,
    NoMatch,
    attribute,
    in_scope,
    is_given,
    label,
    remove,
    remove_if_dead,
    set_constant,
)
from onnxopt.linear.setting import Setting

_TO_THE_END = 2**31 - 1
"""An `ends` of this or more means "to the end"; exporters write INT_MAX or INT64_MAX."""


def regroup(edit: Edit, scope: Graph, concat: Node, gate: Gate, setting: Setting) -> bool:
    """Turn a Concat of Convs upon consecutive channels of one tensor into one grouped Conv; return whether it did.

    The pieces may hold any number of channels, and each Conv may itself be grouped, as long as the groups of the
    result are alike. Several Convs upon one piece give that piece several outputs. The first Conv's name stays.
    """
    convs: list[Node] = [tensor.producer for tensor in concat.inputs if tensor.producer is not None]
    if not _looks_split(convs, concat):
        return False
    try:
        source, layers, groups = _match(edit, scope, convs, concat, setting)
    except NoMatch as no:
        gate.refuse(f"not made one grouped Conv: {no}", concat)
        return False
    if not gate.allow(f"make {len(convs)} Convs on pieces of '{source.name}' one Conv of {groups} groups", concat):
        return False
    weight = np.concatenate([layer.weight.read() for layer in layers])
    bias = _joined_bias(layers)
    first, pieces = convs[0], [conv.inputs[0] for conv in convs]
    result = concat.outputs[0]
    concat.outputs.clear()
    remove(edit, concat)
    for conv in convs[1:]:
        remove(edit, conv)
    first.outputs[0] = result
    first.attrs["group"] = groups
    edit.replace_input(first, 0, source)
    set_constant(edit, first, 1, weight, "weight")
    if bias is not None:
        set_constant(edit, first, 2, bias, "bias")
    for piece in pieces:
        remove_if_dead(edit, piece)
    return True


def _looks_split(convs: list[Node], concat: Node) -> bool:
    """Whether all that is joined are Convs upon pieces of something."""
    return (
        len(convs) == len(concat.inputs) > 1
        and all(conv.is_op("Conv") for conv in convs)
        and all((piece := conv.inputs[0].producer) is not None and piece.is_op("Split", "Slice") for conv in convs)
    )


def _match(
    edit: Edit, scope: Graph, convs: list[Node], concat: Node, setting: Setting
) -> tuple[Tensor, list[Layer], int]:
    """The tensor that is cut, the layers upon its pieces, and the groups of the whole."""
    for conv in convs:
        if edit.sole_reader(conv.outputs[0]) is not concat:
            raise NoMatch(f"'{conv.outputs[0].name}' is read elsewhere too")
        if not in_scope(edit, scope, conv):
            raise NoMatch(f"{label(conv)} is outside the subgraph")
    layers = [read_layer(conv, scope.opset, setting) for conv in convs]
    rank = len(layers[0].weight.shape)
    axis = attribute(concat, "axis", 1)
    if axis not in (1, 1 - rank):
        raise NoMatch(f"it joins along axis {axis}, not along the channels")
    _require_alike(layers)
    starts = [0]
    for before, layer in pairwise(layers):
        same = layer.node.inputs[0] is before.node.inputs[0]
        starts.append(starts[-1] + (0 if same else before.inputs))
    if convs[0].inputs[0].producer.is_op("Split"):
        source = _match_split(convs, rank)
    else:
        source = _match_slices(layers, starts, rank, scope.opset)
    return source, layers, _joined_groups(layers)


def _require_alike(layers: list[Layer]) -> None:
    first = layers[0]
    geometry = read_geometry(first.node, first.weight.shape[2:])
    for layer in layers[1:]:
        if read_geometry(layer.node, layer.weight.shape[2:]) != geometry:
            raise NoMatch(f"{label(layer.node)} has another kernel, stride, padding or dilation than the first")
        if layer.weight.dtype != first.weight.dtype:
            raise NoMatch(f"{label(layer.node)} has weights of another type than the first")


def _joined_groups(layers: list[Layer]) -> int:
    """Groups of the whole: those of each Conv, where several Convs upon one piece make one group."""
    sizes: list[tuple[int, int]] = []  # (inputs, outputs) of each group
    previous: Layer | None = None
    for layer in layers:
        size = (layer.inputs // layer.groups, layer.outputs // layer.groups)
        if previous is not None and layer.node.inputs[0] is previous.node.inputs[0]:
            if layer.groups != 1 or previous.groups != 1:
                raise NoMatch(f"{label(layer.node)} and {label(previous.node)} share a piece and are grouped")
            sizes[-1] = (size[0], sizes[-1][1] + size[1])
        else:
            sizes += [size] * layer.groups
        previous = layer
    if len(set(sizes)) > 1:
        raise NoMatch(f"the groups differ in channels (inputs, outputs): {sorted(set(sizes))[:4]}")
    return len(sizes)


def _joined_bias(layers: list[Layer]) -> Array | None:
    if all(layer.bias is None for layer in layers):
        return None
    dtype = layers[0].weight.dtype
    return np.concatenate(
        [np.zeros(layer.outputs, dtype) if layer.bias is None else layer.bias.read() for layer in layers]
    )


def _match_split(convs: list[Node], rank: int) -> Tensor:
    """The tensor that a Split cuts into exactly the Convs' data, in their order. Widths follow from the weights."""
    split = convs[0].inputs[0].producer
    axis = attribute(split, "axis", 0)
    if axis not in (1, 1 - rank):
        raise NoMatch(f"{label(split)} cuts axis {axis}, not the channels")
    index = {tensor: place for place, tensor in enumerate(split.outputs)}
    places = [index.get(conv.inputs[0]) for conv in convs]
    order = [place for place, before in zip(places, [None, *places], strict=False) if place != before]
    if order != list(range(len(split.outputs))):
        raise NoMatch(f"the Convs do not take all outputs of {label(split)}, in its order")
    return split.inputs[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Cut:
    source: Tensor
    start: int
    end: int


def _match_slices(layers: list[Layer], starts: list[int], rank: int, opset: int) -> Tensor:
    """The tensor that Slices cut into the Convs' data, from the first channel to the last."""
    cuts = [_read_slice(layer.node.inputs[0].producer, rank, opset) for layer in layers]
    source = cuts[0].source
    shape = layers[0].setting.shape(source)
    channels = shape[1] if shape is not None and len(shape) == rank and isinstance(shape[1], int) else None
    for layer, cut, start in zip(layers, cuts, starts, strict=True):
        if cut.source is not source:
            raise NoMatch(f"the pieces are of '{source.name}' and of '{cut.source.name}'")
        begin = cut.start
        if begin < 0:
            if channels is None:
                raise NoMatch(f"the channel count of '{source.name}' is not certain: declare the shapes of the inputs")
            begin += channels
        if begin != start:
            raise NoMatch(f"{label(layer.node)} takes channels from {begin}, expected from {start}")
    total = starts[-1] + layers[-1].inputs
    if channels is None and cuts[-1].end < _TO_THE_END:
        raise NoMatch(f"the channel count of '{source.name}' is not certain: declare the shapes of the inputs")
    if channels is not None and channels != total:
        raise NoMatch(f"the pieces cover {total} of {channels} channels")
    return source


def _read_slice(node: Node, rank: int, opset: int) -> _Cut:
    if not node.is_op("Slice"):
        raise NoMatch(f"one piece is of {label(node)}, another of a Slice")
    starts, ends = _numbers(node, 1, "starts", opset), _numbers(node, 2, "ends", opset)
    axes, steps = _numbers(node, 3, "axes", opset), _numbers(node, 4, "steps", opset)
    if starts is None or ends is None:
        raise NoMatch(f"{label(node)} has no starts or ends")
    axes = list(range(len(starts))) if axes is None else axes
    if len(axes) != 1 or axes[0] not in (1, 1 - rank):
        raise NoMatch(f"{label(node)} cuts axes {axes}, not the channels alone")
    if steps is not None and steps != [1]:
        raise NoMatch(f"{label(node)} takes every {steps[0]}th channel")
    return _Cut(node.inputs[0], starts[0], ends[0])


def _numbers(node: Node, index: int, role: str, opset: int) -> list[int] | None:
    """Numbers that are attributes before opset 10 and inputs since; None where they are left out."""
    if opset < 10:
        return attribute(node, role, None)  # type: ignore[no-any-return]
    if not is_given(node, index):
        return None
    value = known_value(node.inputs[index])
    if value is None:
        raise NoMatch(f"the {role} of {label(node)} are computed at run time: run fold-constants first")
    return value.reshape(-1).tolist()  # type: ignore[no-any-return]
