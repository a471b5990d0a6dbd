"""Gemm without factors, and MatMul without vectors."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site


def gemm_without_factors(site: Site) -> Result:
    """alpha A B + beta C, the factors multiplied into A, or B where that is a constant and A none, and into C."""
    site.float_type()
    alpha, beta = site.attr("alpha"), site.attr("beta")
    a, b = site[0], site[1]
    on_b = isinstance(b, Constant) and not isinstance(a, Constant)
    left = scaled(site, a, alpha) if alpha != 1 and not on_b else a
    right = scaled(site, b, alpha) if alpha != 1 and on_b else b
    attributes = {name: site.attr(name) for name in ("transA", "transB") if site.attr(name)}
    if beta == 0:  # C is left out of the sum then, NaN and all
        attributes["beta"] = 0.0
    c = [scaled(site, site[2], beta) if beta not in (0, 1) else site[2]] if site.given(2) else []
    return site.op.Gemm(left, right, *c, **attributes)


def matmul_of_row(site: Site) -> Result:
    """A vector times matrices, as a matrix of one row."""
    op, rank = site.op, site.rank(1)
    return op.squeeze(op.MatMul(op.Unsqueeze(site[0], np.array([0], np.int64)), site[1]), [rank - 2])


def scaled(site: Site, x: Tensor, factor: float) -> Node | Array:
    """x times a number: worked out, where x is a small constant."""
    value, number = known_value(x), site.number(factor)
    return site.op.Mul(x, number) if value is None else (value * number).astype(value.dtype)
