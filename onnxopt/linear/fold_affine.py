"""Fold the per-channel affine operations round a layer into its weights and bias."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.affine import ARITHMETIC, Affine, data_input, looks_affine, read_affine
from onnxopt.linear.layer import Layer, is_layer, read_layer
from onnxopt.linear.match import (
    Gate,
    NoMatch,
    constant_of,
    in_scope,
    label,
    remove,
    rounded,
    set_constant,
    take_output,
)
from onnxopt.linear.setting import Setting
from onnxopt.linear.spelled import ends_gelu, ends_norm


def fold_after(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> int:
    """Fold into a layer the affine operations that follow it, one after the other; return how many.

    The layer keeps its name, and its output takes the name of the last one folded.
    """
    folded = 0
    while is_layer(node) and (step := _following(edit, node, gate)) is not None:
        output = node.outputs[0]
        try:
            if not in_scope(edit, scope, step):
                raise NoMatch(f"'{output.name}' is computed outside the subgraph")
            _require_no_fusion_after(node, step, setting)
            layer = read_layer(node, scope.opset, setting)
            change = layer.after(read_affine(step, output, layer.output_channels, scope.opset))
        except NoMatch as no:
            gate.refuse(f"not folded into {label(node)} before it: {no}", step)
            break
        if not gate.allow(f"fold {step.op} into {label(node)} before it", step):
            break
        layer.write(edit, *change)
        take_output(edit, node, step)
        folded += 1
    return folded


def fold_before(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> int:
    """Fold into a layer the affine operations that its data come from, one after the other; return how many."""
    folded = 0
    while is_layer(node) and (step := _preceding(node)) is not None:
        output, data = node.inputs[0], data_input(step)
        try:
            if data is None or not in_scope(edit, scope, step):
                raise NoMatch(f"'{output.name}' is computed outside the subgraph")
            if edit.sole_reader(output) is not node:
                raise NoMatch(_shared(edit, output))
            _require_no_fusion_before(step, setting)
            layer = read_layer(node, scope.opset, setting)
            affine = read_affine(step, data, layer.input_channels, scope.opset)
            _require_same_shape(step, data, layer)
            change = layer.before(affine)
        except NoMatch as no:
            gate.refuse(f"not folded into {label(node)} after it: {no}", step)
            break
        if not gate.allow(f"fold {step.op} into {label(node)} after it", step):
            break
        layer.write(edit, *change)
        edit.replace_input(node, 0, data)
        remove(edit, step)
        folded += 1
    return folded


def fold_behind_bias(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> int:
    """Fold what follows a MatMul and the Add of its bias into the weights and the bias; return how many.

    W' = s W, b' = s b + t: MatMul and Add stay, which engines look for. So goes the layer scale of ConvNeXt.
    """
    folded = 0
    while node.is_op("MatMul") and (add := _bias_of(edit, scope, node)) and (step := _following(edit, add, gate)):
        output, add_output = node.outputs[0], add.outputs[0]
        try:
            layer = read_layer(node, scope.opset, setting)
            bias = read_affine(add, output, layer.output_channels, scope.opset)
            more = read_affine(step, add_output, layer.output_channels, scope.opset)
            if not more.is_shift and setting.dialect.keeps("attention") and len(set(more.scale)) == 1:
                raise NoMatch("the target's engine looks for the scale of attention")
            weight, _ = layer.after(Affine(more.scale, np.zeros_like(more.shift)))
            shift = rounded(more.scale * bias.shift + more.shift, layer.weight.dtype, "bias")
        except NoMatch as no:
            gate.refuse(f"not folded into {label(node)} before it: {no}", step)
            break
        if not gate.allow(f"fold {step.op} into {label(node)} and its bias before it", step):
            break
        layer.write(edit, weight, None)
        set_constant(edit, add, 1 if add.inputs[0] is output else 0, shift, "bias")
        take_output(edit, add, step)
        folded += 1
    return folded


def _bias_of(edit: Edit, scope: Graph, node: Node) -> Node | None:
    """The Add of a vector that alone reads a MatMul's output."""
    output = node.outputs[0]
    add = edit.sole_reader(output)
    if add is None or not add.is_op("Add") or not looks_affine(add, output) or not in_scope(edit, scope, add):
        return None
    return add if edit.sole_reader(add.outputs[0]) is not None else None


def _require_no_fusion_after(node: Node, step: Node, setting: Setting) -> None:
    """Refuse to take the bias, be it of zeros, from a MatMul where the target's engine looks for both.

    Raises:
        NoMatch: Says why.
    """
    stays = node.is_op("MatMul") and step.is_op("Add") and setting.dialect.keeps("matmul-add")
    if stays and (obstacle := setting.gemm_obstacle(node.inputs[0])):
        raise NoMatch(obstacle)


def _require_no_fusion_before(step: Node, setting: Setting) -> None:
    """Refuse to take the end from what engines fuse as a whole.

    Raises:
        NoMatch: Says what it is.
    """
    if ends_norm(step):
        raise NoMatch("it ends a normalization, which engines fuse as a whole")
    if setting.dialect.keeps("gelu") and ends_gelu(step):
        raise NoMatch("it ends a Gelu, which the target's engine fuses as a whole")


def _following(edit: Edit, node: Node, gate: Gate) -> Node | None:
    """The affine operation that alone reads a layer's output; a refusal where others read it too."""
    output = node.outputs[0]
    reader = edit.sole_reader(output)
    if reader is not None:
        return reader if looks_affine(reader, output) else None
    for near in output.outputs:
        if not edit.was_removed(near) and looks_affine(near, output):
            gate.refuse(f"not folded into {label(node)} before it: {_shared(edit, output)}", near)
    return None


def _preceding(node: Node) -> Node | None:
    data = node.inputs[0]
    step: Node | None = data.producer
    if step is None:
        return None
    source = data_input(step)
    return step if source is not None and looks_affine(step, source) else None


def _shared(edit: Edit, tensor: Tensor) -> str:
    if edit.is_output(tensor):
        return f"'{tensor.name}' is a graph output"
    return f"'{tensor.name}' is read {edit.uses(tensor)} times"


def _require_same_shape(step: Node, data: Tensor, layer: Layer) -> None:
    """Refuse arithmetic that may broadcast its data to more channels or more axes, which a layer cannot.

    Raises:
        NoMatch: The rank or the channels of the data are not known to be the layer's.
    """
    if not step.is_op(*ARITHMETIC):
        return
    operand = next(tensor for tensor in step.inputs if tensor is not data)
    constant = constant_of(operand)
    sizes = () if constant is None else constant.shape
    shape = layer.setting.shape(data)
    channels = layer.input_channels
    if len(sizes) > 1 and (shape is None or len(shape) < len(sizes)):
        raise NoMatch(f"the rank of '{data.name}' is not certain: declare the shapes of the inputs")
    if any(size != 1 for size in sizes) and (shape is None or shape[channels.axis] != channels.count):
        raise NoMatch(
            f"'{data.name}' is not certain to have {channels.count} channels: declare the shapes of the inputs"
        )
