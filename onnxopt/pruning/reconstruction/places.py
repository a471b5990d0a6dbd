"""Where a layer has its bias, and which tensor tells what it should give out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.linear.affine import EPSILON
from onnxopt.linear.layer import Layer
from onnxopt.linear.match import as_float64, attribute, constant_of, rounded, set_constant

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """The output is scale * (W x) + bias, channel by channel."""

    output: ir.Tensor
    scale: Floats
    bias: Floats | None
    """None where there can be none."""
    write: Callable[[Edit, Floats], None]
    """Store another bias."""
    last: ir.Node
    """The node that gives the output."""


def place_of(edit: Edit, layer: Layer) -> Place:
    """The bias of a layer: its own; or the mean of a BatchNormalization behind it, or a vector that is added.

    A Conv, ConvTranspose or Gemm without any gets one of its own when it is written. A MatMul has none.
    """
    node, ones = layer.node, np.ones(layer.outputs)
    reader = None if layer.bias is not None else edit.sole_reader(node.outputs[0])
    if reader is not None and (norm := read_norm(reader)) is not None and layer.node.op != "MatMul":
        return Place(reader.outputs[0], norm.factor, norm.shift, norm.write_shift, reader)
    if layer.node.op == "MatMul":
        return (None if reader is None else _added(layer, reader)) or Place(
            node.outputs[0], ones, None, lambda edit, bias: None, node
        )
    bias = np.zeros(layer.outputs)
    if layer.bias is not None:
        bias += layer.beta * as_float64(layer.bias).reshape(-1)

    def write(edit: Edit, bias: Floats) -> None:
        layer.write(edit, None, rounded(bias, layer.weight.dtype, "bias"))

    return Place(node.outputs[0], ones, bias, write, node)


def _added(layer: Layer, add: ir.Node) -> Place | None:
    if not add.is_op("Add"):
        return None
    index = 1 if add.inputs[0] is layer.node.outputs[0] else 0
    constant = constant_of(add.inputs[index])
    if constant is None or constant.dtype != layer.weight.dtype or constant.shape != (layer.outputs,):
        return None

    def write(edit: Edit, bias: Floats) -> None:
        set_constant(edit, add, index, rounded(bias, layer.weight.dtype, "bias"), "bias")

    return Place(add.outputs[0], np.ones(layer.outputs), as_float64(constant), write, add)


@dataclass(frozen=True)
class Norm:
    """A BatchNormalization in inference: scale (x - mean) / sqrt(variance + epsilon) + bias."""

    node: ir.Node
    scale: Floats
    bias: Floats
    mean: Floats
    variance: Floats
    epsilon: float

    @property
    def factor(self) -> Floats:
        """What x is multiplied by."""
        return self.scale / np.sqrt(self.variance + self.epsilon)

    @property
    def shift(self) -> Floats:
        """What is added then."""
        return self.bias - self.factor * self.mean

    def write_shift(self, edit: Edit, shift: Floats) -> None:
        """Another mean, so that this is added; a channel that is multiplied by 0 keeps its mean."""
        factor = self.factor
        mean = np.where(factor != 0, (self.bias - shift) / np.where(factor != 0, factor, 1.0), self.mean)
        self.write(edit, mean, self.variance)

    def write(self, edit: Edit, mean: Floats, variance: Floats) -> None:
        """Another mean and variance; what stays the same is not written."""
        for index, role, old, new in ((3, "mean", self.mean, mean), (4, "variance", self.variance, variance)):
            if not np.array_equal(old, new):
                dtype = self.node.inputs[index].dtype
                set_constant(edit, self.node, index, rounded(new, np.dtype(dtype), role), role)


def read_norm(node: ir.Node) -> Norm | None:
    """The BatchNormalization that a node is, where its parameters are constant and it does not train."""
    if not node.is_op("BatchNormalization") or attribute(node, "training_mode", 0):
        return None
    if len(node.inputs) != 5 or sum(bool(tensor.name) for tensor in node.outputs) != 1:
        return None
    scale, bias, mean, variance = (constant_of(tensor) for tensor in node.inputs[1:])
    if scale is None or bias is None or mean is None or variance is None:
        return None
    numbers = (as_float64(scale), as_float64(bias), as_float64(mean), as_float64(variance))
    return Norm(node, *numbers, attribute(node, "epsilon", EPSILON))
