"""Merge a depthwise convolution and the pointwise one next to it into one dense convolution, where that pays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.linear.geometry import Geometry, is_depthwise, positions, read_geometry, write_geometry
from onnxopt.linear.layer import Layer, read_layer, require_digits
from onnxopt.linear.match import (
    Float64,
    Gate,
    NoMatch,
    as_float64,
    constant_of,
    in_scope,
    label,
    rounded,
    set_constant,
    take_output,
)
from onnxopt.linear.setting import Setting

When = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Merged:
    """The convolution that two are together."""

    weight: Float64
    """[group, output of the group, input of the group, *kernel]"""
    bias: Float64 | None
    geometry: Geometry


def merge_with_next(edit: Edit, scope: Graph, first: Node, gate: Gate, when: When, setting: Setting) -> bool:
    """Merge a Conv with the one that reads its output, if one is depthwise and the other 1x1; return whether it did.

    The merged Conv keeps the name of the first. With `when="auto"`, only where neither MACs nor bytes grow.
    """
    output = first.outputs[0]
    second: Node | None = next((reader for reader in output.outputs if _are_neighbours(first, reader)), None)
    if second is None:
        return False
    try:
        if edit.sole_reader(output) is not second or second.inputs[0] is not output:
            raise NoMatch(f"'{output.name}' is read elsewhere too, or is a graph output")
        if not in_scope(edit, scope, second):
            raise NoMatch(f"'{output.name}' is computed outside the subgraph")
        layers = read_layer(first, scope.opset, setting), read_layer(second, scope.opset, setting)
        merged = _depthwise_first(*layers) if is_depthwise(first) else _pointwise_first(*layers)
        if when == "auto":
            _require_cheaper(*layers, merged)
        dtype = layers[0].weight.dtype
        weight = rounded(merged.weight, dtype, "weights")
        require_digits(weight, lambda group, output: merged.weight[group, output])
        bias = None if merged.bias is None else rounded(merged.bias, dtype, "bias")
    except NoMatch as no:
        gate.refuse(f"not merged with {label(first)}: {no}", second)
        return False
    if not gate.allow(f"merge with {label(first)} into one Conv", second):
        return False
    first.attrs.pop("group", None)
    if weight.shape[0] > 1:
        first.attrs["group"] = weight.shape[0]
    write_geometry(first, merged.geometry)
    set_constant(edit, first, 1, weight.reshape(-1, *weight.shape[2:]), "weight")
    if bias is not None:
        set_constant(edit, first, 2, bias, "bias")
    take_output(edit, first, second)
    return True


def _are_neighbours(first: Node, second: Node) -> bool:
    """Whether two Convs with constant weights are a depthwise and a 1x1 that is not depthwise, in either order."""
    if not (first.is_op("Conv") and second.is_op("Conv")) or is_depthwise(first) == is_depthwise(second):
        return False
    pointwise = second if is_depthwise(first) else first
    weight = constant_of(pointwise.inputs[1])
    return weight is not None and set(weight.shape[2:]) == {1}


def _depthwise_first(depthwise: Layer, pointwise: Layer) -> Merged:
    """W[o, c] = sum over the outputs r of channel c of P[o, c r] D[c r]; b = P d + p.

    Zeros that the depthwise pads with stay zeros of the data, so padding does no harm. Taking every s-th position of
    every t-th one is taking every (s t)-th. A zero weight stays zero.
    """
    geometry, steps = _geometry(depthwise), _geometry(pointwise)
    if steps.pads_data:
        raise NoMatch(f"{label(pointwise.node)} pads what the depthwise gives")
    if set(steps.strides) != {1} and geometry.auto_pad != "NOTSET":
        raise NoMatch(f"auto_pad={geometry.auto_pad} pads by the stride, which would change")
    groups = pointwise.groups
    if depthwise.inputs % groups:
        raise NoMatch(f"{groups} groups do not part {depthwise.inputs} channels evenly")
    first = as_float64(depthwise.weight).reshape(groups, depthwise.inputs // groups, -1, *geometry.kernel)
    second = as_float64(pointwise.weight).reshape(groups, -1, *first.shape[1:3])
    weight = np.einsum("gocr,gcr...->goc...", second, first)
    if first.shape[2] > 1:
        _require_zeros_stay(first, second, weight)
    bias = None if pointwise.bias is None else as_float64(pointwise.bias)
    if depthwise.bias is not None:
        through = np.einsum("gocr,gcr->go", second, as_float64(depthwise.bias).reshape(first.shape[:3])).reshape(-1)
        bias = through if bias is None else through + bias
    strides = tuple(a * b for a, b in zip(geometry.strides, steps.strides, strict=True))
    return Merged(weight, bias, replace(geometry, strides=strides))


def _require_zeros_stay(first: Float64, second: Float64, weight: Float64) -> None:
    """Refuse to add a product that is zero to one that is not: pruned weights would be gone in the sum.

    Products of single weights need no such care: they are zero where either factor is.
    """
    for output in range(second.shape[1]):
        none = (second[:, output] == 0).reshape(*first.shape[:3], *[1] * (first.ndim - 3))
        lost = none | (first == 0)
        if np.any(lost.any(axis=2) & (weight[:, output] != 0)):
            raise NoMatch("zeros among the weights would be gone in sums over the outputs of one channel")


def _pointwise_first(pointwise: Layer, depthwise: Layer) -> Merged:
    """W[c r, i] = D[c r] P[c, i]; b = d + (sum of D) p. Padding puts zeros after p, so there p has to be zero."""
    geometry, steps = _geometry(depthwise), _geometry(pointwise)
    if steps.pads_data or set(steps.strides) != {1}:
        raise NoMatch(f"{label(pointwise.node)} has padding or a stride")
    first = as_float64(pointwise.weight).reshape(pointwise.outputs, -1)
    second = as_float64(depthwise.weight).reshape(pointwise.outputs, -1, *geometry.kernel)
    groups = pointwise.groups
    weight = np.einsum("ci,cr...->cri...", first, second).reshape(groups, -1, first.shape[1], *geometry.kernel)
    bias = None if depthwise.bias is None else as_float64(depthwise.bias)
    if pointwise.bias is not None and np.any(shift := as_float64(pointwise.bias)):
        if geometry.pads_data:
            raise NoMatch(f"{label(depthwise.node)} pads with zeros, which the bias of the 1x1 would have moved")
        taps = second.sum(axis=tuple(range(2, second.ndim)))
        through = (taps * shift[:, np.newaxis]).reshape(-1)
        bias = through if bias is None else through + bias
    return Merged(weight, bias, geometry)


def _geometry(layer: Layer) -> Geometry:
    return read_geometry(layer.node, layer.weight.shape[2:])


def _require_cheaper(first: Layer, second: Layer, merged: Merged) -> None:
    """Refuse to make anything grow: multiply-accumulates, or bytes of the weights and of what lies between.

    The tensor between is written once and read once. Where its sizes are not known, MACs are compared for each output
    position of a large image, where the first Conv has as many positions as the second's strides multiply to, and
    bytes for the weights alone.
    """
    end, between = positions(second.node), positions(first.node)
    known = end is not None and between is not None
    if end is None or between is None:
        end, between = 1, math.prod(_geometry(second).strides)
    size = first.weight.dtype.itemsize
    parameters = first.weight.nbytes + second.weight.nbytes
    macs_before = between * math.prod(first.weight.shape) + end * math.prod(second.weight.shape)
    macs_after = end * merged.weight.size
    bytes_before = parameters + (2 * between * first.outputs * size if known else 0)
    bytes_after = merged.weight.size * size
    if macs_after > macs_before or bytes_after > bytes_before:
        each = "" if known else " for each output position"
        raise NoMatch(
            f"one Conv would cost {macs_after:,} MACs{each}, not {macs_before:,}, "
            f"and {bytes_after:,} bytes, not {bytes_before:,}"
        )
