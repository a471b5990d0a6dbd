"""Normalizations over the last axis, of one output, or by moments."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site


def layer_norm_with_moments(site: Site) -> Result:
    """LayerNormalization of one output; the mean and the inverse deviation, for who reads them, are computed aside."""
    op, x = site.op, site[0]
    normal = op.LayerNormalization(*site.node.inputs, **site.node.attrs)
    if not site.used(1) and not site.used(2):
        return normal
    if site.float_type() != np.float32 or site.attr("stash_type") != 1:
        raise NoMatch("its moments are of another type than its input")
    axes = list(range(site.axis(), site.rank()))
    mean = op.reduce("ReduceMean", x, axes)
    if not site.used(2):
        return normal, mean
    centred = op.Sub(x, mean)
    variance = op.reduce("ReduceMean", op.Mul(centred, centred), axes)
    inverse = op.Div(site.number(1), op.Sqrt(op.Add(variance, site.number(site.attr("epsilon")))))
    return normal, mean, inverse


def normalize_last_axis(site: Site) -> Result:
    """LayerNormalization or RMSNormalization over several axes, as over the one that they make together."""
    op, shape, axis = site.op, site.shape(), site.axis()
    if site.used(1) or site.used(2):
        raise NoMatch("its moments are read")
    tail = math.prod(shape[axis:])
    if not math.prod(shape):
        raise NoMatch("it normalizes nothing")
    flat = op.reshape(site[0], [*shape[:axis], tail])
    others: list[Tensor | Node] = []
    for index in (1, 2):
        if site.given(index):
            own = site.shape(index)
            if own != shape[axis:]:
                raise NoMatch(f"'{site[index].name}' of shape {list(own)} is broadcast to {list(shape[axis:])}")
            others.append(op.reshape(site[index], [tail]))
    kept = {name: value for name, value in site.node.attrs.items() if name != "axis"}
    return op.reshape(op.make(site.node.op, flat, *others, axis=-1, **kept), shape)


def mean_variance(site: Site) -> Result:
    """(x - mean) / (deviation + 1e-9), by its definition."""
    site.float_type()
    op, x, rank = site.op, site[0], site.rank()
    axes = [axis % rank for axis in site.attr("axes")]
    centred = op.Sub(x, op.reduce("ReduceMean", x, axes))
    deviation = op.Sqrt(op.reduce("ReduceMean", op.Mul(centred, centred), axes))
    return op.Div(centred, op.Add(deviation, site.number(1e-9)))


def lp_normalization(site: Site) -> Result:
    """x / sum |x|, or x / sqrt(sum x^2); 0 where the divisor is."""
    site.float_type()
    op, x, axis = site.op, site[0], site.axis("axis", -1)
    if site.attr("p") == 1:
        size = op.reduce("ReduceSum", op.Abs(x), [axis])
    else:
        size = op.Sqrt(op.reduce("ReduceSum", op.Mul(x, x), [axis]))
    return op.Div(x, op.Where(op.Equal(size, site.number(0)), site.number(1), size))


def batch_norm_in_training(site: Site) -> Result:
    """BatchNormalization by the moments of its input, and the running moments as it defines them (opset 14)."""
    if site.float_type() != np.float32:
        raise NoMatch("its moments are of another type than its input")
    op, rank, momentum = site.op, site.rank(), site.attr("momentum")
    axes, channels = [axis for axis in range(rank) if axis != 1], [-1, *([1] * (rank - 2))]
    mean = op.reduce("ReduceMean", site[0], axes)
    centred = op.Sub(site[0], mean)
    variance = op.reduce("ReduceMean", op.Mul(centred, centred), axes)
    scale, bias = (op.reshape(site[index], channels) for index in (1, 2))
    inverse = op.Div(scale, op.Sqrt(op.Add(variance, site.number(site.attr("epsilon")))))
    outputs: list[Tensor | Node | None] = [op.Add(op.Mul(centred, inverse), bias), None, None]
    for index, moment in ((1, mean), (2, variance)):
        if site.used(index):
            kept = op.Mul(site[index + 2], site.number(momentum))
            outputs[index] = op.Add(kept, op.Mul(op.reshape(moment, [-1]), site.number(1 - momentum)))
    return outputs
