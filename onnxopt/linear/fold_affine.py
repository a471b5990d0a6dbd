"""Fold the per-channel affine operations round a layer into its weights and bias."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.affine import ARITHMETIC, data_input, looks_affine, read_affine
from onnxopt.linear.geometry import known_shape
from onnxopt.linear.layer import Layer, is_layer, read_layer
from onnxopt.linear.match import Gate, NoMatch, constant_of, in_scope, label, remove, take_output


def fold_after(edit: Edit, scope: Graph, node: Node, gate: Gate) -> int:
    """Fold into a layer the affine operations that follow it, one after the other; return how many.

    The layer keeps its name, and its output takes the name of the last one folded.
    """
    folded = 0
    while is_layer(node) and (step := _following(edit, node, gate)) is not None:
        output = node.outputs[0]
        try:
            if not in_scope(edit, scope, step):
                raise NoMatch(f"'{output.name}' is computed outside the subgraph")
            layer = read_layer(node, scope.opset)
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


def fold_before(edit: Edit, scope: Graph, node: Node, gate: Gate) -> int:
    """Fold into a layer the affine operations that its data come from, one after the other; return how many."""
    folded = 0
    while is_layer(node) and (step := _preceding(node)) is not None:
        output, data = node.inputs[0], data_input(step)
        try:
            if data is None or not in_scope(edit, scope, step):
                raise NoMatch(f"'{output.name}' is computed outside the subgraph")
            if edit.sole_reader(output) is not node:
                raise NoMatch(_shared(edit, output))
            layer = read_layer(node, scope.opset)
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
    shape = known_shape(data)
    channels = layer.input_channels
    if len(sizes) > 1 and (shape is None or len(shape) < len(sizes)):
        raise NoMatch(f"the rank of '{data.name}' is not known: run infer-shapes first")
    if any(size != 1 for size in sizes) and (shape is None or shape[channels.axis] != channels.count):
        raise NoMatch(f"'{data.name}' is not known to have {channels.count} channels: run infer-shapes first")
