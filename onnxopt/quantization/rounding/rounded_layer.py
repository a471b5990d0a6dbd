"""One layer with weights on the grid that `quantize` will lay over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onnxopt.activations.second_order import SecondOrder
from onnxopt.linear.layer import Array, Layer
from onnxopt.linear.match import NoMatch, as_float64, rounded
from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.rounding.compensated import round_compensated
from onnxopt.quantization.weights import WeightMethod, weight_encoding

Floats = npt.NDArray[np.float64]

_ON_GRID = 1e-3
"""Steps that weights may lie off it: the rounding of float16, and not of integers."""


def round_layer(
    layer: Layer, seen: SecondOrder, integer: Integer, axis: int | None, method: WeightMethod
) -> tuple[Array, Array | None]:
    """New weights, and a new bias where the layer has one.

    The weight that makes the scale of its channel stays at its end of the range, so that the same scale is found again.
    The mean of the error goes into the bias, and so does not count when weights are rounded.

    Raises:
        NoMatch: The weights are on the grid already, or no data were seen.
    """
    values = np.asarray(layer.weight.read(), np.float32)
    encoding = weight_encoding(values, integer, axis, method)
    scale = _scales(layer, encoding, axis, values.shape)
    canonical = layer.canonical(values).astype(np.float64)
    steps = (canonical / scale).reshape(*canonical.shape[:2], -1)
    if not seen.positions:
        raise NoMatch("no data came")
    most = integer.limits[1]
    if np.abs(steps - np.clip(np.rint(steps), -most, most)).max(initial=0.0) < _ON_GRID:
        raise NoMatch("its weights are on the grid already")
    has_bias = layer.bias is not None and layer.alpha == layer.beta == 1.0 and layer.bias.shape == (layer.outputs,)
    found = round_compensated(steps, seen.moments(centered=has_bias), most, _kept(steps, per_channel=axis is not None))
    weight = np.empty(values.shape, layer.weight.dtype)
    target = layer.canonical(weight)
    target[...] = (found.reshape(canonical.shape) * scale).astype(weight.dtype)
    if not has_bias or layer.bias is None:
        return weight, None
    error = (target.reshape(steps.shape) - canonical.reshape(steps.shape)) @ seen.mean[:, :, np.newaxis]
    return weight, rounded(as_float64(layer.bias) - error.reshape(-1), layer.bias.dtype, "bias")


def _scales(layer: Layer, encoding: Encoding, axis: int | None, shape: tuple[int, ...]) -> Floats:
    """Of each weight, as `layer.canonical` has them; broadcast."""
    if axis is None:
        return np.asarray(encoding.scale, np.float64)
    wanted = [1] * len(shape)
    wanted[axis] = -1
    return layer.canonical(np.broadcast_to(encoding.scale.reshape(wanted), shape)).astype(np.float64)


def _kept(steps: Floats, *, per_channel: bool) -> npt.NDArray[np.bool_]:
    """Zeros, and the largest weight of each channel, or of all."""
    size = np.abs(steps)
    kept = steps == 0
    if per_channel:
        np.put_along_axis(kept, size.argmax(axis=-1)[:, :, np.newaxis], True, -1)
    else:
        kept.flat[size.argmax()] = True
    return np.asarray(kept)
