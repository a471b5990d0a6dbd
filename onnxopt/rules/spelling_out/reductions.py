"""Reductions by sums, and products by pairs."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site

_MOST_FACTORS = 64
"""Of a product: it takes a slice and a Mul for each."""


def axes_of(site: Site) -> list[int]:
    """The axes that a reduction is over, from the front; none where it gives out its input as it is."""
    given, rank = site.ints(1, "axes"), site.rank()
    if given:
        return sorted({axis % rank for axis in given})
    return [] if site.attr("noop_with_empty_axes", 0) else list(range(rank))


def reduce_l1(site: Site) -> Result:
    """The sum of |x|."""
    return _of_sum(site, site.op.Abs(site[0]))


def reduce_sum_square(site: Site) -> Result:
    """The sum of x^2."""
    return _of_sum(site, site.op.Mul(site[0], site[0]))


def reduce_log_sum(site: Site) -> Result:
    """The logarithm of the sum."""
    site.float_type()
    return site.op.Log(_of_sum(site, site[0]))


def reduce_prod(site: Site) -> Result:
    """The product of slices, by halves; axes of more than 64 elements are refused."""
    op, x, shape = site.op, site[0], site.shape()
    site.dtype()
    axes = axes_of(site)
    if any(not 0 < shape[axis] <= _MOST_FACTORS for axis in axes):
        raise NoMatch(f"it multiplies {[shape[axis] for axis in axes]} elements: up to {_MOST_FACTORS} are spelled out")
    found: Tensor | Node = x
    for axis in axes:
        size = shape[axis]
        while size > 1:
            half, odd = divmod(size, 2)
            low, high = op.slice(found, axis, 0, half), op.slice(found, axis, half, 2 * half)
            product = op.Mul(low, high)
            found = op.Concat(product, op.slice(found, axis, 2 * half, size), axis=axis) if odd else product
            size = half + odd
    if axes and not site.attr("keepdims"):
        return op.squeeze(found, axes)
    return found


def reduce_bool(site: Site) -> Result:
    """The maximum or minimum of truth values, as that of 0 and 1."""
    op, axes = site.op, axes_of(site)
    if not axes:
        return site[0]
    number = op.Cast(site[0], to=_INT32)
    found = op.reduce(site.node.op, number, axes, bool(site.attr("keepdims")))
    if site.node.op == "ReduceMax":  # of nothing it is false, and the largest of no numbers is not 0, but the smallest
        return op.Greater(found, np.array(0, np.int32))
    return op.Cast(found, to=_BOOL)


def _of_sum(site: Site, terms: Node | Tensor) -> Node | Tensor:
    axes = axes_of(site)
    return site.op.reduce("ReduceSum", terms, axes, bool(site.attr("keepdims"))) if axes else terms


_INT32, _BOOL = 6, 9
"""TensorProto.INT32, TensorProto.BOOL."""
