"""Cumulative products, element by element."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site

_MOST = 64


def cumulative_product(site: Site) -> Result:
    """A slice and a Mul for each element along the axis; up to 64 of them."""
    op, shape, dtype = site.op, site.shape(), site.dtype()
    axis = int(site.value(1).reshape(-1)[0]) % len(shape)
    size = shape[axis]
    if not 0 < size <= _MOST:
        raise NoMatch(f"it multiplies {size} elements: up to {_MOST} are spelled out")
    order = range(size)[:: -1 if site.attr("reverse") else 1]
    slices: list[Tensor | Node] = [op.slice(site[0], axis, at, at + 1) for at in order]
    if site.attr("exclusive"):
        one = np.ones([1 if each == axis else dim for each, dim in enumerate(shape)], dtype)
        slices = [op.Identity(one), *slices[:-1]]
    products = slices[:1]
    for part in slices[1:]:
        products.append(op.Mul(products[-1], part))
    return op.Concat(*products[:: -1 if site.attr("reverse") else 1], axis=axis)
