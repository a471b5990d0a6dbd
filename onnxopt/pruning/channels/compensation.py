"""What removed channels gave to the layers that read them, made good by their biases, and by the channels that stay."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from onnxopt.ir.edit import Edit
from onnxopt.ir.tensor import Constant
from onnxopt.linear.match import set_constant
from onnxopt.pruning.channels.links import Index
from onnxopt.pruning.channels.reader import Reader
from onnxopt.pruning.channels.second_moments import Moments

Compensation = Literal["none", "bias", "weights"]
Floats = npt.NDArray[np.float64]


def compensate(edit: Edit, reader: Reader, moments: Moments, kept: Index, how: Compensation) -> None:
    """Give a layer the weights and the bias with which it does best when it reads the channels `kept` alone.

    The channels that go, S, are fitted by those that stay, K: x_S = M x_K + c, by least squares over the calibration
    data. So W_K + W_S M stands for W_K, and W_S c goes into the bias. With `bias`, M is 0 and c the mean. A weight of 0
    stays 0. What stands in the columns of S is no longer of use, and is left.
    """
    weights = reader.matrix()
    everything = np.arange(reader.layer.inputs)
    stay, go = reader.columns(kept), reader.columns(np.setdiff1d(everything, kept))
    shift = moments.mean[go]
    lost = weights[:, go]
    if how == "weights":
        fit = np.linalg.solve(moments.covariance[np.ix_(stay, stay)], moments.covariance[np.ix_(stay, go)])
        weights[:, stay] = np.where(weights[:, stay] == 0, 0, weights[:, stay] + lost @ fit.T)
        shift = shift - moments.mean[stay] @ fit
        _write_weights(edit, reader, weights)
    if reader.has_bias:
        _add_to_bias(edit, reader, reader.layer.alpha * (lost @ shift))


def _write_weights(edit: Edit, reader: Reader, weights: Floats) -> None:
    old = reader.layer.weight.read()
    new = np.empty(old.shape, old.dtype)
    view = reader.layer.canonical(new)
    view[0] = weights.reshape(view.shape[1:])
    set_constant(edit, reader.node, 1, new, "weight")


def _add_to_bias(edit: Edit, reader: Reader, shift: Floats) -> None:
    layer = reader.layer
    if reader.bias is None:  # Conv or Gemm without one, or with one that others read
        old = np.zeros(layer.outputs) if layer.bias is None else layer.beta * layer.bias.read().astype(np.float64)
        reader.node.attrs.pop("beta", None)
        set_constant(edit, reader.node, 2, np.asarray(old + shift, layer.weight.dtype).reshape(-1), "bias")
        return
    node, index = reader.bias
    constant = node.inputs[index]
    assert isinstance(constant, Constant)
    scale = layer.beta if node is reader.node else 1.0
    constant.values = np.asarray(constant.read() + shift / scale, constant.dtype)
    edit.changed = True
