"""What a BatchNormalization still knows of the data that a model was trained on.

Its output has mean `bias` and variance `scale`^2 in each channel, over all of the training data (Ioffe and Szegedy
2015). A few calibration samples do not show what channels of other classes do, and those would seem superfluous.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.linear.match import constant_of, is_given
from onnxopt.pruning.channels.reader import Reader

Floats = npt.NDArray[np.float64]
_THROUGH = (
    *("AveragePool", "Dropout", "Flatten", "GlobalAveragePool", "Identity", "MaxPool", "Pad", "ReduceMean"),
    *("Reshape", "Squeeze"),
)
"""What leaves the spread of channels about as it is beside one another."""
_FAR = 12.0
"""Standard deviations, where there is no limit."""


def trained_variance(reader: Reader) -> Floats | None:
    """The variance of each channel of the data of a layer, but for one factor of all; None where nothing tells it.

    For a normally distributed output of the BatchNormalization that is clipped, as Relu and Clip do.
    """
    low, high = -math.inf, math.inf
    node: Node | None = reader.node.inputs[0].producer
    while node is not None and not node.is_op("BatchNormalization"):
        limits = _limits(node)
        if limits is None:
            return None
        low, high = max(low, limits[0]), min(high, limits[1])
        node = node.inputs[0].producer
    if node is None:
        return None
    scale, bias = (constant_of(tensor) for tensor in node.inputs[1:3])
    if scale is None or bias is None or scale.shape != (reader.layer.inputs,):
        return None
    return clipped_variance(bias.read().astype(np.float64), np.abs(scale.read().astype(np.float64)), low, high)


def _limits(node: Node) -> tuple[float, float] | None:
    if node.is_op(*_THROUGH):
        return -math.inf, math.inf
    if node.is_op("Relu"):
        return 0.0, math.inf
    if not node.is_op("Clip"):
        return None
    found = [float(node.attr("min", -math.inf)), float(node.attr("max", math.inf))]
    for place in (0, 1):
        if is_given(node, place + 1):
            value = known_value(node.inputs[place + 1])
            if value is None:
                return None
            found[place] = float(value.reshape(()))
    return found[0], found[1]


def clipped_variance(mean: Floats, deviation: Floats, low: float, high: float) -> Floats:
    """The variance of normally distributed numbers that are clipped."""
    deviation = np.maximum(deviation, 1e-12)
    begin = np.maximum(low, mean - _FAR * deviation)
    end = np.maximum(np.minimum(high, mean + _FAR * deviation), begin)
    a, b = (begin - mean) / deviation, (end - mean) / deviation
    below, above = _normal(a), 1 - _normal(b)
    inside, slope_a, slope_b = 1 - below - above, _density(a), _density(b)
    first = begin * below + end * above + mean * inside + deviation * (slope_a - slope_b)
    second = begin**2 * below + end**2 * above + (mean**2 + deviation**2) * inside
    second += 2 * mean * deviation * (slope_a - slope_b) + deviation**2 * (a * slope_a - b * slope_b)
    return np.asarray(np.maximum(second - first**2, 0.0))


def _normal(x: Floats) -> Floats:
    return np.asarray([0.5 * math.erfc(-each / math.sqrt(2)) for each in x.tolist()])


def _density(x: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi))
