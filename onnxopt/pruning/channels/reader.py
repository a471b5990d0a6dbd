"""Layers that read channels and can make good what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant
from onnxopt.linear.layer import Layer, read_layer
from onnxopt.linear.match import NoMatch
from onnxopt.linear.setting import Setting
from onnxopt.pruning.channels.links import Axis, Index
from onnxopt.pruning.channels.structure import Group

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """A layer that sums over channels, and where the mean of an error can go."""

    layer: Layer
    axis: Axis
    """Of its data, with the channels."""
    bias: tuple[Node, int] | None
    """The input that is added to each output, be it of an Add behind a MatMul."""

    @property
    def node(self) -> Node:
        """Its node."""
        return self.layer.node

    @property
    def has_bias(self) -> bool:
        """Whether the mean of an error can be made good."""
        return self.bias is not None or self.node.op != "MatMul"

    def columns(self, channels: Index) -> Index:
        """The weights of one output that read these channels, in the order of `Layer.canonical`."""
        taps = int(np.prod(self.layer.canonical(self.layer.weight.read()).shape[3:]))
        return np.asarray((channels[:, None] * taps + np.arange(taps)).reshape(-1))

    def matrix(self) -> Floats:
        """The weights as [outputs, columns], alpha left out."""
        found = self.layer.canonical(self.layer.weight.read())[0].astype(np.float64)
        return np.asarray(found.reshape(found.shape[0], -1))


def readers_of(edit: Edit, groups: Iterable[Group], setting: Setting) -> dict[Node, Reader]:
    """The layers that read channels of some groups: Convs without groups, Gemms and MatMuls with weights of their own.

    Others that sum over channels, such as ConvTranspose or a product of two activations, are left as they are.
    """
    found: dict[Node, Reader] = {}
    for group in groups:
        for use in group.readers:
            if use.at == 0 and use.node not in found:
                layer = _layer(edit, use.node, setting)
                if layer is not None:
                    axis = Axis(use.node.inputs[0], use.axis)
                    found[use.node] = Reader(layer, axis, _bias_place(edit, use.node, layer))
    return found


def _layer(edit: Edit, node: Node, setting: Setting) -> Layer | None:
    if not node.is_op("Conv", "Gemm", "MatMul"):
        return None
    try:
        layer = read_layer(node, edit.main.opset, setting)
    except NoMatch:
        return None
    is_own = isinstance(node.inputs[1], Constant) and edit.sole_reader(node.inputs[1]) is node
    return layer if is_own and layer.groups == 1 and layer.weight.dtype == np.float32 else None


def _bias_place(edit: Edit, node: Node, layer: Layer) -> tuple[Node, int] | None:
    if node.op != "MatMul":
        own = layer.bias is not None and layer.bias.shape == (layer.outputs,)
        return (node, 2) if own and isinstance(node.inputs[2], Constant) and _is_sole(edit, node, 2) else None
    add = edit.sole_reader(node.outputs[0])
    if add is None or not add.is_op("Add"):
        return None
    index = 1 - list(add.inputs).index(node.outputs[0])
    constant = add.inputs[index]
    fits = isinstance(constant, Constant) and constant.shape == (layer.outputs,)
    return (add, index) if fits and _is_sole(edit, add, index) else None


def _is_sole(edit: Edit, node: Node, index: int) -> bool:
    return edit.sole_reader(node.inputs[index]) is node
