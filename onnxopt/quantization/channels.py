"""Channels of activations: which axis they lie along, and which of them are always 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.quantization.operands import constant

_CONVOLUTIONS = ("Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "FusedConv")
_PRODUCTS = ("Gemm", "MatMul")
_FOLLOWED = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu"}
    | {"Softplus", "Swish", "Tanh", "ThresholdedRelu", "MaxPool", "AveragePool", "GlobalAveragePool"}
)
"""What keeps the channels of its first input where they are."""
_FAR = 4
"""Operators to follow back: after them it is hardly the same channel any more."""


def channel_axis(tensor: ir.Tensor) -> int | None:
    """The axis of the channels of what a convolution (1) or a product with weights (-1) made; None of anything else."""
    for _ in range(_FAR):
        node = tensor.producer
        if node is None or not node.is_standard:
            return None
        if node.op in _CONVOLUTIONS:
            return 1
        if node.op in _PRODUCTS:
            return -1
        if node.op not in _FOLLOWED or not node.inputs:
            return None
        tensor = node.inputs[0]
    return None


def silent_channels(tensor: ir.Tensor) -> frozenset[int]:
    """The channels of a convolution's output, or of what its activation makes of it, that are 0 whatever the data are.

    Their weights and bias are 0: somebody pruned them, or `pad-channels` added them. That is no news.
    """
    for _ in range(_FAR):
        node = tensor.producer
        if node is None or not node.is_standard or not node.inputs:
            break
        if node.op == "Conv":
            found = [constant(each) for each in node.inputs[1:] if each.name]
            if not found or None in found:
                break
            silent = np.ones(1, bool)
            for each in found:
                values = each.read()  # type: ignore[union-attr]
                silent = silent & ~values.reshape(len(values), -1).any(axis=1)
            return frozenset(map(int, np.flatnonzero(silent)))
        tensor = node.inputs[0]
    return frozenset()


class DeadChannels:
    """The channels of one tensor that were 0 so far. Once a channel is alive it is not looked at again."""

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._dead: npt.NDArray[np.intp] | None = None
        self.channels = 0
        """How many channels there are."""

    def add(self, values: npt.NDArray[Any]) -> None:
        """Look at a batch; one with another number of channels ends the watch."""
        if not -values.ndim <= self._axis < values.ndim or not values.size:
            return
        if self._dead is None:
            self.channels = values.shape[self._axis]
            self._dead = np.arange(self.channels)
        elif values.shape[self._axis] != self.channels:
            self._dead = self._dead[:0]
        if self._dead.size:
            rest = values if self._dead.size == self.channels else values.take(self._dead, self._axis)
            others = tuple(axis for axis in range(values.ndim) if axis != self._axis % values.ndim)
            self._dead = self._dead[~rest.any(axis=others)]

    @property
    def dead(self) -> tuple[int, ...]:
        """The channels that are still dead."""
        return () if self._dead is None else tuple(map(int, self._dead))
