"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.families.reduce import first_of
from onnxopt.backends.coreml.lowering.numbers import float_operand, is_float, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_PLAIN = {"Softplus": "softplus", "Softsign": "softsign"}


@lowers(*_PLAIN)
def plain(site: Site) -> Any:
    """What has no attributes."""
    return getattr(mb, _PLAIN[site.node.op])(x=float_operand(site, 0), name=site.name)


@lowers("Relu")
def relu(site: Site) -> Any:
    """Of integers too."""
    x = operand(site, 0)
    return mb.relu(x=x, name=site.name) if is_float(x) else mb.maximum(x=x, y=np.int32(0), name=site.name)


@lowers("LeakyRelu", "Elu")
def with_alpha(site: Site) -> Any:
    """What has a factor alpha."""
    function, default = {"LeakyRelu": (mb.leaky_relu, 0.01), "Elu": (mb.elu, 1.0)}[site.node.op]
    x = float_operand(site, 0)
    return function(x=x, alpha=like(x, site.attr("alpha", default)), name=site.name)


@lowers("PRelu")
def prelu(site: Site) -> Any:
    """`mb.prelu` for a constant slope a channel, else max(x, 0) + slope * min(x, 0)."""
    x, slope = operand(site, 0), site.value(1)
    rank, channels = site.rank(0), site.shape(0)[1] if site.rank(0) > 1 else None
    known = isinstance(slope, np.ndarray) and is_float(x)
    if known and rank == 4 and slope.shape == (channels, 1, 1):
        return mb.prelu(x=x, alpha=slope.reshape(-1), name=site.name)
    if known and slope.size == 1 and slope.ndim <= rank:
        return mb.leaky_relu(x=x, alpha=slope.reshape(()), name=site.name)
    zero = like(x, 0)
    below = mb.mul(x=mb.minimum(x=x, y=zero), y=operand(site, 1))
    return mb.add(x=mb.maximum(x=x, y=zero), y=below, name=site.name)


@lowers("Selu")
def selu(site: Site) -> Any:
    """gamma * elu(x)."""
    x = float_operand(site, 0)
    alpha, gamma = site.attr("alpha", 1.67326319217681884765625), site.attr("gamma", 1.05070102214813232421875)
    return mb.mul(x=mb.elu(x=x, alpha=like(x, alpha)), y=like(x, gamma), name=site.name)


@lowers("Celu")
def celu(site: Site) -> Any:
    """max(0, x) + alpha * elu(min(0, x) / alpha)."""
    x = float_operand(site, 0)
    alpha = like(x, site.attr("alpha", 1.0))
    below = mb.elu(x=mb.real_div(x=mb.minimum(x=x, y=like(x, 0)), y=alpha), alpha=like(x, 1))
    return mb.add(x=mb.relu(x=x), y=mb.mul(x=below, y=alpha), name=site.name)


@lowers("HardSigmoid")
def hard_sigmoid(site: Site) -> Any:
    """max(0, min(1, alpha * x + beta))."""
    x = float_operand(site, 0)
    alpha, beta = like(x, site.attr("alpha", 0.2)), like(x, site.attr("beta", 0.5))
    return mb.sigmoid_hard(x=x, alpha=alpha, beta=beta, name=site.name)


@lowers("HardSwish")
def hard_swish(site: Site) -> Any:
    """x * max(0, min(1, x / 6 + 0.5))."""
    x = float_operand(site, 0)
    return mb.mul(x=x, y=mb.sigmoid_hard(x=x, alpha=like(x, 1 / 6), beta=like(x, 0.5)), name=site.name)


@lowers("Gelu")
def gelu(site: Site) -> Any:
    """By the error function, or its approximation by tanh."""
    mode = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}[site.only("approximate", "none", "tanh")]
    return mb.gelu(x=float_operand(site, 0), mode=mode, name=site.name)


@lowers("Swish")
def swish(site: Site) -> Any:
    """x * sigmoid(alpha * x)."""
    x, alpha = float_operand(site, 0), site.attr("alpha", 1.0)
    if alpha == 1:
        return mb.silu(x=x, name=site.name)
    return mb.mul(x=x, y=mb.sigmoid(x=mb.mul(x=x, y=like(x, alpha))), name=site.name)


@lowers("Mish")
def mish(site: Site) -> Any:
    """x * tanh(softplus(x))."""
    x = float_operand(site, 0)
    return mb.mul(x=x, y=mb.tanh(x=mb.softplus(x=x)), name=site.name)


@lowers("ThresholdedRelu")
def thresholded_relu(site: Site) -> Any:
    """x where x > alpha, else 0; `mb.thresholded_relu` keeps x = alpha too."""
    x = float_operand(site, 0)
    above = mb.greater(x=x, y=like(x, site.attr("alpha", 1.0)))
    return mb.select(cond=above, a=x, b=like(x, 0), name=site.name)


@lowers("Shrink")
def shrink(site: Site) -> Any:
    """x + bias where x < -lambd, x - bias where x > lambd, else 0."""
    x = operand(site, 0)
    bias, threshold = site.attr("bias", 0.0), site.attr("lambd", 0.5)
    if not is_float(x):
        site.require(float(bias).is_integer(), f"attribute bias={bias} makes fractions of integers")
        threshold = math.floor(threshold)  # x > 1.5 is x > 1 for integers
    low, high = mb.less(x=x, y=like(x, -threshold)), mb.greater(x=x, y=like(x, threshold))
    inner = mb.select(cond=high, a=mb.sub(x=x, y=like(x, bias)), b=like(x, 0))
    return mb.select(cond=low, a=mb.add(x=x, y=like(x, bias)), b=inner, name=site.name)


@lowers("Softmax", "LogSoftmax", "Hardmax")
def softmax(site: Site) -> Any:
    """Along one axis; before opset 13 along all axes from `axis` on, as if they were one."""
    x, rank = float_operand(site, 0), site.rank(0)
    together = site.opset < 13
    axis = site.axis(rank, 1 if together else -1)
    if not together or axis == rank - 1:
        return _over(site, x, axis, site.name)
    sizes = site.sizes(0)
    flat = mb.reshape(x=x, shape=[math.prod(sizes[:axis]), math.prod(sizes[axis:])])
    return mb.reshape(x=_over(site, flat, 1, None), shape=list(sizes), name=site.name)


def _over(site: Site, x: Any, axis: int, name: str | None) -> Any:
    named = {"name": name} if name else {}
    if site.node.op == "Softmax":
        return mb.softmax(x=x, axis=axis, **named)
    if site.node.op == "LogSoftmax":
        return mb.sub(x=x, y=mb.reduce_log_sum_exp(x=x, axes=[axis], keep_dims=True), **named)
    largest = mb.equal(x=x, y=mb.reduce_max(x=x, axes=[axis], keep_dims=True))
    index, places = first_of(site, largest, axis)
    return mb.cast(x=mb.equal(x=index, y=places), dtype="fp16" if site.dtype(0) == np.float16 else "fp32", **named)
