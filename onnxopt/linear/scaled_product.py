"""Scales of both factors of a matrix product: (a s) (b t) is (a st) b, and the layer that makes a takes the st.

torch spells scaled dot-product attention so, with the fourth root of 1 / head size on either side. Numbers of one
element go through what arranges elements: Reshape, Transpose, Squeeze, Split and the like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array
from onnxopt.linear.affine import Affine, data_input, looks_affine, read_affine
from onnxopt.linear.layer import Layer, is_layer, read_layer
from onnxopt.linear.match import (
    Float64,
    Gate,
    NoMatch,
    as_float64,
    constant_of,
    in_scope,
    is_float,
    label,
    remove,
    rounded,
    set_constant,
)
from onnxopt.linear.selected import ARRANGING, SELECTING, selected_channels
from onnxopt.linear.setting import Setting

_MOST = 12
"""Nodes between a scale and its layer."""
_MOST_HALF = 2.0**6
"""Scales beyond this, or below 1 / this, leave little of float16's range on the one side that takes both."""
_MOST_WIDE = 2.0**32
"""The same for the types that reach to 1e38."""
_LARGE = 8 << 20
"""Bytes of weights above which they are not computed anew: it would cost more memory than the Mul is worth."""


@dataclass(frozen=True)
class Scale:
    """Data times one number."""

    node: Node
    data: Tensor
    factor: float
    operand: Constant


@dataclass(frozen=True)
class _Target:
    """A layer that takes a scale, with the Add of its bias, if that is a node of its own."""

    layer: Layer
    add: Node | None
    weight: Array
    bias: Array | None


def fold_scales_of_product(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> int:
    """Take the scales from both factors of a MatMul: into a layer, or else into one of them; return how many go.

    Where the target's engine computes scale and product as one, one scale stays in front of it.
    """
    scales = _scales_of(edit, scope, node, setting)
    if scales is None:
        return 0
    factor = scales[0].factor * scales[1].factor
    most = _MOST_HALF if scales[0].operand.dtype == np.float16 else _MOST_WIDE
    if not all(1 / most <= abs(number) <= most for number in (scales[0].factor, scales[1].factor, factor)):
        gate.refuse("the scales of both factors not merged: on one side alone they might overflow, or vanish", node)
        return 0
    target = None
    for scale in () if setting.dialect.keeps("scaled-product") else scales:
        try:
            target = _target_of(edit, scope, scale, factor, setting)
        except NoMatch as no:
            gate.refuse(f"not folded into the layer before it: {no}", scale.node)
        if target is not None:
            break
    if target is not None and gate.allow(f"fold the scales of both factors into {label(target.layer.node)}", node):
        target.layer.write(edit, target.weight, target.bias if target.add is None else None)
        if target.add is not None and target.bias is not None:
            operand = 1 if constant_of(target.add.inputs[1]) is not None else 0
            set_constant(edit, target.add, operand, target.bias, "bias")
        return _drop(edit, node, scales)
    return 0 if target is not None else _merge(edit, node, scales, factor, gate)


def _merge(edit: Edit, node: Node, scales: tuple[Scale, Scale], factor: float, gate: Gate) -> int:
    kept = scales[0]
    try:
        value = rounded(np.full(kept.operand.shape, factor), kept.operand.dtype, "product")
    except NoMatch as no:
        gate.refuse(f"the scales of both factors not merged: {no}", node)
        return 0
    if not gate.allow(f"merge the scales of both factors into {label(kept.node)}", node):
        return 0
    if kept.node.op == "Div":
        kept.node.op = "Mul"
    set_constant(edit, kept.node, 0 if kept.node.inputs[1] is kept.data else 1, value, "factor")
    return _drop(edit, node, scales[1:])


def _drop(edit: Edit, node: Node, scales: tuple[Scale, ...]) -> int:
    for scale in scales:
        place = next(index for index, tensor in enumerate(node.inputs) if tensor is scale.node.outputs[0])
        edit.replace_input(node, place, scale.data)
        remove(edit, scale.node)
    return len(scales)


def _scales_of(edit: Edit, scope: Graph, node: Node, setting: Setting) -> tuple[Scale, Scale] | None:
    if len(node.inputs) != 2:
        return None
    one, other = (_scale_of(edit, scope, tensor, setting) for tensor in node.inputs)
    return None if one is None or other is None else (one, other)


def _scale_of(edit: Edit, scope: Graph, tensor: Tensor, setting: Setting) -> Scale | None:
    node = tensor.producer
    if node is None or not node.is_op("Mul", "Div") or len(node.inputs) != 2 or scope.opset < 7:
        return None
    data = data_input(node)
    if data is None or edit.sole_reader(tensor) is None or not in_scope(edit, scope, node):
        return None
    operand = node.inputs[1] if node.inputs[0] is data else node.inputs[0]
    constant = constant_of(operand)
    if constant is None or constant.shape not in ((), (1,)) or not is_float(constant.dtype):
        return None
    if constant.shape and not setting.shapes.dims(data):  # it may give a scalar an axis
        return None
    if node.op == "Div" and operand is node.inputs[0]:
        return None
    number = float(as_float64(constant).reshape(-1)[0])
    if node.op == "Mul":
        return Scale(node, data, number, constant)
    return Scale(node, data, 1 / number, constant) if number else None


def _target_of(edit: Edit, scope: Graph, scale: Scale, factor: float, setting: Setting) -> _Target | None:
    """The layer behind a scale, with its new weights.

    Raises:
        NoMatch: There is one that cannot take it.
    """
    path: list[tuple[Node, Tensor]] = []
    tensor, add = scale.data, None
    while len(path) < _MOST and edit.sole_reader(tensor) is not None and in_scope(edit, scope, tensor.producer):
        node = tensor.producer
        assert node is not None
        if is_layer(node):
            break
        if add is None and node.is_op("Add") and (data := data_input(node)) is not None and looks_affine(node, data):
            add, tensor = node, data
        elif add is None and node.op in ARRANGING and node.is_standard:
            path.append((node, tensor))
            tensor = node.inputs[0]
        else:
            return None
    layer_node = tensor.producer
    if layer_node is None or not is_layer(layer_node) or edit.sole_reader(tensor) is None:
        return None
    if not in_scope(edit, scope, layer_node):
        raise NoMatch(f"'{tensor.name}' is computed outside the subgraph")
    layer = read_layer(layer_node, scope.opset, setting)
    if len(layer.weight.outputs) > 1 or scale.operand.dtype != layer.weight.dtype:
        raise NoMatch(f"{label(layer_node)} shares its weights, or has them in another type")
    if layer.weight.nbytes > _LARGE:
        raise NoMatch(f"the weights of {label(layer_node)} are large, and would be in memory for one node less")
    if layer.output_channels.axis not in (-1, (layer.rank or 0) - 1) and any(node.op in SELECTING for node, _ in path):
        raise NoMatch(f"a Split or Gather takes other than whole channels of {label(layer_node)}")
    chosen = selected_channels(path[::-1], layer.outputs, setting.shapes)
    factors: Float64 = np.where(chosen, factor, 1.0)
    affine = Affine(factors, np.zeros(layer.outputs))
    weight, bias = layer.after(affine)
    if add is not None:
        shift = read_affine(add, tensor, layer.output_channels, scope.opset).shift
        bias = rounded(factors * shift, layer.weight.dtype, "bias")
    assert weight is not None
    return _Target(layer, add, weight, bias)
