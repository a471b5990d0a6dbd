"""Normalizations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import float_operand, is_float, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site


@lowers("BatchNormalization")
def batch_normalization(site: Site) -> Any:
    """As in inference: with the statistics that are given."""
    site.only("training_mode", 0)
    site.only("spatial", 1)
    site.attr("momentum")  # of training
    site.require(site.attr("is_test", site.opset >= 7), "attribute is_test=0 is training")
    x, epsilon = float_operand(site, 0), site.attr("epsilon", 1e-5)
    if 3 <= site.rank(0) <= 5 and all(isinstance(site.value(index), np.ndarray) for index in range(1, 5)):
        gamma, beta, mean, variance = (site.var(index) for index in range(1, 5))
        return mb.batch_norm(
            x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=like(x, epsilon), name=site.name
        )
    scale, bias, mean, variance = (_per_channel(site, index) for index in range(1, 5))
    factor = mb.mul(x=mb.rsqrt(x=variance, epsilon=like(variance, epsilon)), y=scale)
    return mb.add(x=mb.mul(x=mb.sub(x=x, y=mean), y=factor), y=bias, name=site.name)


def _per_channel(site: Site, index: int) -> Any:
    """[C], of axis 1."""
    return mb.reshape(x=site.var(index), shape=[1, -1, *[1] * (site.rank(0) - 2)])


@lowers("InstanceNormalization")
def instance_normalization(site: Site) -> Any:
    """Over the axes after the first two."""
    x, epsilon = float_operand(site, 0), site.attr("epsilon", 1e-5)
    if 3 <= site.rank(0) <= 4 and all(isinstance(site.value(index), np.ndarray) for index in (1, 2)):
        return mb.instance_norm(x=x, gamma=site.var(1), beta=site.var(2), epsilon=like(x, epsilon), name=site.name)
    normal, *_ = _normalized(x, list(range(2, site.rank(0))), epsilon)
    return mb.add(x=mb.mul(x=normal, y=_per_channel(site, 1)), y=_per_channel(site, 2), name=site.name)


@lowers("LayerNormalization")
def layer_normalization(site: Site) -> Any:
    """Over the axes from `axis` on; in float16 programs the statistics are of float16 as well."""
    site.attr("stash_type", 1)
    x, epsilon, rank = float_operand(site, 0), site.attr("epsilon", 1e-5), site.rank(0)
    axes = list(range(site.axis(rank, -1), rank))
    given = [site.value(index) for index in (1, 2) if site.has(index)]
    plain = all(isinstance(value, np.ndarray) and value.shape == tuple(x.shape[axes[0] :]) for value in given)
    if plain and not any(tensor.name for tensor in site.node.outputs[1:]):
        named = {name: site.var(index) for name, index in (("gamma", 1), ("beta", 2)) if site.has(index)}
        return mb.layer_norm(x=x, axes=axes, epsilon=like(x, epsilon), name=site.name, **named)
    normal, mean, inverse = _normalized(x, axes, epsilon)
    normal = mb.mul(x=normal, y=site.var(1))
    return (mb.add(x=normal, y=site.var(2)) if site.has(2) else normal), mean, inverse


@lowers("GroupNormalization")
def group_normalization(site: Site) -> Any:
    """Over groups of channels and all axes behind; scale and bias are of each channel (of each group in opset 18)."""
    site.attr("stash_type", 1)
    groups = site.attr("num_groups")
    sizes = site.sizes(0)
    site.require(isinstance(groups, int) and sizes[1] % groups == 0, f"attribute num_groups={groups} does not divide")
    x = float_operand(site, 0)
    flat = mb.reshape(x=x, shape=[sizes[0], groups, math.prod(sizes[1:]) // groups])
    normal = mb.layer_norm(x=flat, axes=[2], epsilon=like(x, site.attr("epsilon", 1e-5)))
    if site.opset < 21 and groups != sizes[1]:
        normal = mb.mul(x=normal, y=mb.reshape(x=site.var(1), shape=[1, groups, 1]))
        normal = mb.add(x=normal, y=mb.reshape(x=site.var(2), shape=[1, groups, 1]))
        return mb.reshape(x=normal, shape=list(sizes), name=site.name)
    normal = mb.reshape(x=normal, shape=list(sizes))
    return mb.add(x=mb.mul(x=normal, y=_per_channel(site, 1)), y=_per_channel(site, 2), name=site.name)


@lowers("RMSNormalization")
def rms_normalization(site: Site) -> Any:
    """x / sqrt(mean(x^2) + epsilon) * scale."""
    site.attr("stash_type", 1)
    x, rank = float_operand(site, 0), site.rank(0)
    axes = list(range(site.axis(rank, -1), rank))
    mean = mb.reduce_mean(x=mb.square(x=x), axes=axes, keep_dims=True)
    normal = mb.mul(x=x, y=mb.rsqrt(x=mean, epsilon=like(x, site.attr("epsilon", 1e-5))))
    return mb.mul(x=normal, y=site.var(1), name=site.name)


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(site: Site) -> Any:
    """(x - mean) / (deviation + 1e-9), as the operator's function body has it."""
    x, rank = float_operand(site, 0), site.rank(0)
    axes = [axis % rank for axis in site.attr("axes") or [0, 2, 3]]
    centered = mb.sub(x=x, y=mb.reduce_mean(x=x, axes=axes, keep_dims=True))
    deviation = mb.sqrt(x=mb.reduce_mean(x=mb.square(x=centered), axes=axes, keep_dims=True))
    return mb.real_div(x=centered, y=mb.add(x=deviation, y=like(x, 1e-9)), name=site.name)


@lowers("LpNormalization")
def lp_normalization(site: Site) -> Any:
    """x divided by its norm along an axis; where the norm is zero, zero."""
    x = float_operand(site, 0)
    axis = site.axis(site.rank(0), -1)
    function = {1: mb.reduce_l1_norm, 2: mb.reduce_l2_norm}[site.only("p", 2, 1)]
    norm = function(x=x, axes=[axis], keep_dims=True)
    zero = mb.cast(x=mb.equal(x=norm, y=like(x, 0)), dtype="fp16" if site.dtype(0) == np.float16 else "fp32")
    return mb.real_div(x=x, y=mb.add(x=norm, y=zero), name=site.name)


@lowers("LRN")
def lrn(site: Site) -> Any:
    """x / (bias + alpha / size * sum of squares of neighbouring channels) ^ beta.

    `mb.local_response_norm` where the neighbours lie evenly on both sides; else their sum is a product with a band of
    ones, since MIL does not say on which side the odd one lies.
    """
    x, size = float_operand(site, 0), site.attr("size")
    site.require(isinstance(size, int) and size > 0, f"attribute size={size} is none")
    alpha, beta, bias = site.attr("alpha", 1e-4), site.attr("beta", 0.75), site.attr("bias", 1.0)
    rank = site.rank(0)
    if size % 2 and rank in (3, 4):
        return mb.local_response_norm(
            x=x, size=size, alpha=like(x, alpha), beta=like(x, beta), k=like(x, bias), name=site.name
        )
    channels = site.shape(0)[1]
    site.require(isinstance(channels, int) and 3 <= rank <= 5, "it needs channels of a fixed number and 1 to 3 axes")
    offset = np.arange(channels)[None] - np.arange(channels)[:, None]
    band = ((offset >= -((size - 1) // 2)) & (offset <= -(-(size - 1) // 2))).astype(np.float32)
    weight = like(x, band.reshape(channels, channels, *[1] * (rank - 2)))
    sums = mb.conv(x=mb.square(x=x), weight=weight, pad_type="valid")
    base = mb.add(x=mb.mul(x=sums, y=like(x, alpha / size)), y=like(x, bias))
    return mb.real_div(x=x, y=mb.pow(x=base, y=like(x, beta)), name=site.name)


def _normalized(x: Any, axes: list[int], epsilon: float) -> tuple[Any, Any, Any]:
    """(x - mean) / sqrt(variance + epsilon), the mean, and the inverse deviation."""
    assert is_float(x)
    mean = mb.reduce_mean(x=x, axes=axes, keep_dims=True)
    centered = mb.sub(x=x, y=mean)
    variance = mb.reduce_mean(x=mb.square(x=centered), axes=axes, keep_dims=True)
    inverse = mb.rsqrt(x=variance, epsilon=like(x, epsilon))
    return mb.mul(x=centered, y=inverse), mean, inverse
