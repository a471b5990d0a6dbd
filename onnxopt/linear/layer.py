"""Layers with constant weights as y = W x + b, and what an affine operation before or after makes of W and b."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant
from onnxopt.linear.affine import Affine, Channels
from onnxopt.linear.geometry import read_geometry
from onnxopt.linear.match import (
    Float64,
    NoMatch,
    as_float64,
    attribute,
    is_given,
    label,
    required_constant,
    rounded,
    set_constant,
)
from onnxopt.linear.setting import Setting

Array = npt.NDArray[Any]
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """One layer, and how its weights are laid out."""

    node: Node
    weight: Constant
    bias: Constant | None
    groups: int
    inputs: int
    """Input channels."""
    outputs: int
    """Output channels."""
    rank: int | None
    """Rank of the output; None for a MatMul upon data of unknown rank."""
    setting: Setting
    alpha: float = 1.0
    beta: float = 1.0

    def canonical(self, array: Array) -> Array:
        """A view of weights as [group, output of the group, input of the group, *kernel]."""
        if self.node.is_op("Conv", "ConvTranspose"):
            grouped = array.reshape(self.groups, -1, *array.shape[1:])
            return grouped if self.node.op == "Conv" else np.swapaxes(grouped, 1, 2)
        transposed = self.node.op == "Gemm" and self.node.attr("transB", 0) != 0
        matrix = array if transposed else array.T
        return matrix[np.newaxis]

    @property
    def output_channels(self) -> Channels:
        """Where the output has its channels."""
        return Channels(self._axis, self.outputs, self.rank)

    @property
    def input_channels(self) -> Channels:
        """Where the data has its channels."""
        return Channels(self._axis, self.inputs, self.rank)

    @property
    def _axis(self) -> int:
        return -1 if self.node.op == "MatMul" else 1

    def after(self, affine: Affine) -> tuple[Array | None, Array | None]:
        """Weights and bias of `affine` applied to the output: W' = s W, b' = s b + t. None is "as it is".

        Raises:
            NoMatch: The result cannot be held in the type of the weights, or the layer cannot have a bias.
        """
        weight = bias = None
        if not affine.is_shift:
            shape = (self.groups, -1, *[1] * (self.canonical(self.weight.read()).ndim - 2))
            weight = self._scaled(affine.scale.reshape(shape))
        if not affine.is_scale or (self.bias is not None and not affine.is_shift):
            bias = self._rounded_bias(affine.scale * self._bias() + affine.shift)
        return weight, bias

    def before(self, affine: Affine) -> tuple[Array | None, Array | None]:
        """Weights and bias of `affine` applied to the data: W' = W s, b' = b + sum of W t.

        Raises:
            NoMatch: As for `after`; or the layer pads the data with zeros, which `affine` would have shifted.
        """
        weight = bias = None
        canonical = self.canonical(self.weight.read())
        shape = (self.groups, 1, -1, *[1] * (canonical.ndim - 3))
        if not affine.is_scale:
            self._require_no_padding()
            taps = canonical.sum(axis=tuple(range(3, canonical.ndim)), dtype=np.float64)  # [group, output, input]
            shift = (taps @ affine.shift.reshape(self.groups, -1, 1)).reshape(-1)
            bias = self._rounded_bias(self._bias() + self.alpha * shift)
        if not affine.is_shift:
            weight = self._scaled(affine.scale.reshape(shape))
        return weight, bias

    def write(self, edit: Edit, weight: Array | None, bias: Array | None) -> None:
        """Give the node new weights and a new bias, the constants of other nodes left alone."""
        if weight is not None:
            set_constant(edit, self.node, 1, weight, "weight")
        if bias is not None:
            if self.node.op == "MatMul":
                self.node.op = "Gemm"
            self.node.attrs.pop("beta", None)
            set_constant(edit, self.node, 2, bias, "bias")

    def _require_no_padding(self) -> None:
        if self.node.op == "ConvTranspose":
            raise NoMatch(f"{label(self.node)} overlaps fewer taps at its borders, so a shift of its data is no bias")
        if self.node.op == "Conv" and read_geometry(self.node, self.weight.shape[2:]).pads_data:
            raise NoMatch(f"{label(self.node)} pads with zeros, which the shift would have moved")

    def _bias(self) -> Float64:
        """The bias of each output channel, `beta` multiplied in; zeros where there is none."""
        if self.bias is None:
            return np.zeros(self.outputs)
        return self.beta * as_float64(self.bias)

    def _rounded_bias(self, exact: Float64) -> Array:
        if self.node.op == "MatMul" and (obstacle := self.setting.gemm_obstacle(self.node.inputs[0])):
            raise NoMatch(obstacle)
        return rounded(exact, self.weight.dtype, "bias")

    def _scaled(self, factor: Float64) -> Array:
        """The weights times `factor`, which broadcasts to the canonical view.

        numpy computes in double precision block by block, so that large weights need no second large array. A zero
        weight stays zero.
        """
        old = self.weight.read()
        new = np.empty(old.shape, old.dtype)
        source, target = self.canonical(old), self.canonical(new)
        with np.errstate(all="ignore"):
            if old.dtype == ml_dtypes.bfloat16:
                target[...] = (source.astype(np.float64) * factor).astype(old.dtype)
            else:
                np.multiply(source, factor, out=target, dtype=np.float64, casting="same_kind")
        if not np.isfinite(new).all():
            raise NoMatch(f"the weights would not be finite in {old.dtype}")
        factors = np.broadcast_to(factor, source.shape)
        require_digits(target, lambda group, output: source[group, output] * factors[group, output])
        return new


def require_digits(canonical: Array, exact: Callable[[int, int], Array]) -> None:
    """Refuse a channel whose every weight falls below float16's normal numbers, where digits are lost.

    The range of the wider types ends so low that what is lost there is nothing beside any bias.

    Args:
        canonical: The rounded weights as [group, output of the group, ...].
        exact: The unrounded weights of one output.

    Raises:
        NoMatch: Names the channel.
    """
    if canonical.dtype != np.float16:
        return
    smallest = np.finfo(np.float16).smallest_normal
    largest = np.abs(canonical).max(axis=tuple(range(2, canonical.ndim)), initial=0)
    for group, output in np.argwhere(largest < smallest):
        if np.any(exact(group, output)):
            channel = int(group) * canonical.shape[1] + int(output)
            raise NoMatch(
                f"the weights of channel {channel} would lose digits in float16: all are below {smallest:.1e}"
            )


def is_layer(node: Node) -> bool:
    """Whether a node is a Conv, ConvTranspose, Gemm or MatMul."""
    return node.is_op(*LAYERS) and len(node.inputs) > 1


def read_layer(node: Node, opset: int, setting: Setting) -> Layer:
    """The layer that a node is.

    Raises:
        NoMatch: Its weight or bias is not constant, or its form is none that has a bias for each channel.
    """
    weight = required_constant(node.inputs[1], "weight")
    shape = weight.shape
    bias = required_constant(node.inputs[2], "bias") if is_given(node, 2) else None
    if node.is_op("Conv", "ConvTranspose"):
        groups = attribute(node, "group", 1)
        if len(shape) < 3 or groups < 1 or shape[0] % groups or math.prod(shape) == 0:
            raise NoMatch(f"weights of shape {list(shape)} in {groups} groups are none of a convolution")
        outputs, inputs = shape[0], shape[1] * groups
        if node.op == "ConvTranspose":
            outputs, inputs = inputs, outputs
        return Layer(node, weight, bias, groups, inputs, outputs, len(shape), setting)
    if len(shape) != 2 or math.prod(shape) == 0:
        raise NoMatch(f"its weight '{node.inputs[1].name}' is of shape {list(shape)}, not a matrix")
    if opset < 7:
        raise NoMatch(f"opset {opset} broadcasts by attributes; convert the model to opset 7 or later")
    if node.is_op("MatMul"):
        return Layer(node, weight, None, 1, shape[0], shape[1], _rank(node, setting), setting)
    inputs, outputs = shape[::-1] if attribute(node, "transB", 0) else shape
    if bias is not None and bias.shape not in ((outputs,), (1, outputs), (1,), (1, 1), ()):
        raise NoMatch(f"its bias '{node.inputs[2].name}' of shape {list(bias.shape)} is not one number a channel")
    if attribute(node, "transA", 0):
        raise NoMatch("its data is transposed")
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    return Layer(node, weight, bias, 1, inputs, outputs, 2, setting, alpha, beta)


def _rank(node: Node, setting: Setting) -> int | None:
    shape = setting.shape(node.inputs[0])
    return None if shape is None or len(shape) < 2 else len(shape)
