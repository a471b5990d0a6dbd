"""Polynomials, by Horner's rule."""

from __future__ import annotations

from collections.abc import Sequence

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Site


def polynomial(site: Site, x: Tensor | Node, coefficients: Sequence[float]) -> Node:
    """c[0] x^n + ... + c[n-1] x + c[n], in the type of the site's first input."""
    op = site.op
    total: Tensor | Node | None = None
    for coefficient in coefficients[:-1]:
        factor = site.number(coefficient) if total is None else op.Add(total, site.number(coefficient))
        total = op.Mul(x, factor)
    assert total is not None
    return op.Add(total, site.number(coefficients[-1]))
