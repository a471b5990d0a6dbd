"""Per-channel affine operations: BatchNormalization, Mul, Add, Sub, Div by constants, and the 1x1 depthwise Conv."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor, Variable
from onnxopt.linear.match import (
    Float64,
    NoMatch,
    as_float64,
    attribute,
    constant_of,
    is_given,
    required_constant,
)

ARITHMETIC = ("Mul", "Add", "Sub", "Div")
EPSILON = float(np.float32(1e-5))
"""The default of BatchNormalization, in double precision: attributes are float32 (IR specification)."""
_LARGEST_SCALE = 2.0**64
_LARGEST_SHIFT = 2.0**124
"""The square root of the largest float32, and a 16th of it: what is beyond may overflow on the way to a result that
does not."""


@dataclass(frozen=True)
class Channels:
    """Which axis of a tensor holds its channels, and how many there are."""

    axis: int
    """Counted from the front, or -1 for the last."""
    count: int
    rank: int | None
    """None where it is not known; then the channels are on the last axis."""


@dataclass(frozen=True)
class Affine:
    """y = scale * x + shift, channel by channel: float64 arrays of shape [channels]."""

    scale: Float64
    shift: Float64

    @property
    def is_shift(self) -> bool:
        """Whether it only shifts."""
        return bool(np.all(self.scale == 1.0))

    @property
    def is_scale(self) -> bool:
        """Whether it only scales."""
        return not np.any(self.shift)


def looks_affine(node: Node, data: Tensor) -> bool:
    """Whether a node is one of these operations upon `data`, as far as can be told without reading a value.

    Arithmetic counts if its other operand is a constant, or a graph input with a default value.
    """
    if node.is_op("BatchNormalization"):
        return len(node.inputs) == 5 and node.inputs[0] is data
    if node.is_op(*ARITHMETIC):
        other = _other_operand(node, data)
        return other is not None and (constant_of(other) is not None or getattr(other, "default", None) is not None)
    return node.is_op("Conv") and node.inputs[0] is data and is_depthwise_scale(node)


def data_input(node: Node) -> Tensor | None:
    """The input of an affine node that is not constant."""
    variable: list[Tensor]
    if node.is_op("BatchNormalization", "Conv"):
        variable = node.inputs[:1]
        return variable[0] if variable else None
    variable = [tensor for tensor in node.inputs if constant_of(tensor) is None and not _has_default(tensor)]
    return variable[0] if len(variable) == 1 and node.is_op(*ARITHMETIC) else None


def is_depthwise_scale(node: Node) -> bool:
    """Whether a Conv is a scale for each channel: 1x1, depthwise, one output a channel, stride 1, no padding."""
    weight = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None or node.attr("group", 1) != weight.shape[0] or math.prod(weight.shape[1:]) != 1:
        return False
    spatial = len(weight.shape) - 2
    return (
        node.attr("strides") in (None, [1] * spatial)
        and node.attr("pads") in (None, [0] * 2 * spatial)
        and isinstance(node.attr("auto_pad", ""), str)
    )


def read_affine(node: Node, data: Tensor, channels: Channels, opset: int) -> Affine:
    """What an affine node does to `data`.

    Raises:
        NoMatch: It is no such operation, or one of its operands is not a constant for each channel.
    """
    if node.is_op("BatchNormalization"):
        found = _read_batch_norm(node, channels, opset)
    elif node.is_op("Conv"):
        found = _read_depthwise_scale(node, channels)
    else:
        found = _read_arithmetic(node, data, channels, opset)
    if not (np.isfinite(found.scale).all() and np.isfinite(found.shift).all()):
        raise NoMatch("its scale or shift is not finite")
    large = np.abs(found.scale).max(initial=0) > _LARGEST_SCALE or np.abs(found.shift).max(initial=0) > _LARGEST_SHIFT
    if large or np.any((np.abs(found.scale) < 1 / _LARGEST_SCALE) & (found.scale != 0)):
        raise NoMatch("its scale or shift is so extreme that what overflows or vanishes behind it would no longer")
    return found


def _read_batch_norm(node: Node, channels: Channels, opset: int) -> Affine:
    """Inference mode, y = scale * (x - mean) / sqrt(var + epsilon) + bias (operator specification, opsets 1 to 15)."""
    if opset >= 14:
        training = attribute(node, "training_mode", 0) != 0
    else:
        training = any(not output.is_empty() for output in node.outputs[1:])
        if opset < 7:
            training = training or attribute(node, "is_test", 0) == 0
    if training:
        raise NoMatch("it is in training mode")
    if attribute(node, "spatial", 1) == 0:
        raise NoMatch("it normalises each position on its own (spatial=0)")
    if channels.axis != 1 and channels.rank != 2:
        raise NoMatch("it normalises axis 1, and the channels are on the last axis")
    roles = ("scale", "bias", "mean", "variance")
    constants = [required_constant(tensor, role) for tensor, role in zip(node.inputs[1:5], roles, strict=True)]
    for constant, role in zip(constants, roles, strict=True):
        if constant.shape != (channels.count,):
            raise NoMatch(f"its {role} has shape {list(constant.shape)}, not [{channels.count}]")
    scale, bias, mean, variance = map(as_float64, constants)
    spread = variance + attribute(node, "epsilon", EPSILON)
    if np.any(spread <= 0):
        raise NoMatch(f"variance + epsilon is not positive in channel {int(np.argmax(spread <= 0))}")
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(spread)
        return Affine(factor, bias - mean * factor)


def _read_depthwise_scale(node: Node, channels: Channels) -> Affine:
    weight = required_constant(node.inputs[1], "weight")
    if weight.shape[0] != channels.count or channels.rank != len(weight.shape):
        raise NoMatch(f"it scales {weight.shape[0]} channels, not {channels.count}")
    scale = as_float64(weight).reshape(-1)
    if not is_given(node, 2):
        return Affine(scale, np.zeros_like(scale))
    return Affine(scale, as_float64(required_constant(node.inputs[2], "bias")))


def _read_arithmetic(node: Node, data: Tensor, channels: Channels, opset: int) -> Affine:
    if opset < 7:
        raise NoMatch(f"opset {opset} broadcasts by attributes; convert the model to opset 7 or later")
    other = _other_operand(node, data)
    if other is None:
        raise NoMatch("it has no constant operand")
    value = _per_channel(other, channels)
    one, zero = np.ones_like(value), np.zeros_like(value)
    first = node.inputs[0] is data
    if node.op == "Mul":
        return Affine(value, zero)
    if node.op == "Add":
        return Affine(one, value)
    if node.op == "Sub":
        return Affine(one, -value) if first else Affine(-one, value)
    if not first:
        raise NoMatch("it divides by the data")
    with np.errstate(all="ignore"):
        return Affine(1.0 / value, zero)


def _per_channel(tensor: Tensor, channels: Channels) -> Float64:
    """A constant that broadcasts along every axis but the channels', as [channels]. Large ones are not read."""
    constant = required_constant(tensor, "operand")
    shape = constant.shape
    rank = channels.rank
    if len(shape) > (1 if rank is None else rank):
        raise NoMatch(
            f"its operand '{tensor.name}' of shape {list(shape)} has more axes than the data is known to have"
        )
    full = shape if rank is None else (1,) * (rank - len(shape)) + shape
    along = math.prod(shape) if not full else full[channels.axis]
    if math.prod(shape) != along or along not in (1, channels.count):
        raise NoMatch(f"its operand '{tensor.name}' of shape {list(shape)} is not one number for each channel")
    return np.full(channels.count, as_float64(constant).reshape(-1))


def is_per_channel(node: Node, data: Tensor) -> bool:
    """Whether an affine node's operand tells channels apart: [channels, 1, ...], more than one number."""
    if node.is_op("BatchNormalization"):
        return True
    other = _other_operand(node, data)
    constant = None if other is None else constant_of(other)
    return constant is not None and constant.shape[-1:] == (1,) and math.prod(constant.shape) > 1


def _other_operand(node: Node, data: Tensor) -> Tensor | None:
    if len(node.inputs) != 2 or (node.inputs[0] is data) == (node.inputs[1] is data):
        return None
    other: Tensor = node.inputs[1] if node.inputs[0] is data else node.inputs[0]
    return other


def _has_default(tensor: Tensor) -> bool:
    return isinstance(tensor, Variable) and tensor.default is not None
