"""Inverse circular functions by Atan, and hyperbolic ones by Exp and Log.

Near 0 the closed forms lose digits: log(x + sqrt(x^2 + 1)) adds x to 1 first, which in float16, as many targets
compute, leaves three of them. There the Taylor series takes their place; it is within 2^-22 of the value.
"""

from __future__ import annotations

import math

from onnxopt.ir.node import Node
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.polynomials import polynomial
from onnxopt.rules.spelling_out.site import Result, Site

_LN2 = math.log(2)


def asin(site: Site) -> Result:
    """2 atan(x / (1 + sqrt((1 - x)(1 + x)))): the half-angle formula, exact at both ends and NaN beyond."""
    op, x, one = site.op, site[0], _one(site)
    cosine = op.Sqrt(op.Mul(op.Sub(one, x), op.Add(x, one)))
    return op.Mul(op.Atan(op.Div(x, op.Add(cosine, one))), site.number(2))


def acos(site: Site) -> Result:
    """2 atan(sqrt((1 - x) / (1 + x))): the half-angle formula; at -1 it is 2 atan(inf)."""
    op, x, one = site.op, site[0], _one(site)
    return op.Mul(op.Atan(op.Sqrt(op.Div(op.Sub(one, x), op.Add(x, one)))), site.number(2))


def cosh(site: Site) -> Result:
    """(e^x + e^-x) / 2, each power as a square, since e^x overflows before cosh(x) does."""
    rising, falling = _half_powers(site)
    return site.op.Add(rising, falling)


def sinh(site: Site) -> Result:
    """(e^x - e^-x) / 2; below 1/2 the series x + x^3 / 6 + ... + x^9 / 9!."""
    op = site.op
    rising, falling = _half_powers(site)
    series = [1 / math.factorial(power) for power in (9, 7, 5, 3, 1)]
    return _near_zero(site, 0.5, series, op.Sub(rising, falling))


def asinh(site: Site) -> Result:
    """sign(x) log(|x| + sqrt(x^2 + 1)); below 1/4 the series; from 2^10 on log(2 |x|), as x^2 overflows."""
    op, x, one = site.op, site[0], _one(site)
    size = op.Abs(x)
    bounded = op.Min(size, site.number(1024))
    middle = op.Log(op.Add(bounded, op.Sqrt(op.Add(op.Mul(bounded, bounded), one))))
    far = op.Add(op.Log(op.Max(size, site.number(1024))), site.number(_LN2))
    value = op.Mul(op.Sign(x), op.Where(op.Less(size, site.number(1024)), middle, far))
    series = [-63 / 2816, 35 / 1152, -5 / 112, 3 / 40, -1 / 6, 1]
    return _near_zero(site, 0.25, series, value)


def acosh(site: Site) -> Result:
    """log(x + sqrt(x - 1) sqrt(x + 1)), of which no square overflows; NaN below 1."""
    op, x, one = site.op, site[0], _one(site)
    root = op.Mul(op.Sqrt(op.Sub(x, one)), op.Sqrt(op.Add(x, one)))
    half = site.number(0.5)
    return op.Add(op.Log(op.Add(op.Mul(x, half), op.Mul(root, half))), site.number(_LN2))


def atanh(site: Site) -> Result:
    """log((1 + x) / (1 - x)) / 2; below 1/4 the series x + x^3 / 3 + ... + x^11 / 11."""
    op, x, one = site.op, site[0], _one(site)
    value = op.Mul(op.Log(op.Div(op.Add(x, one), op.Sub(one, x))), site.number(0.5))
    return _near_zero(site, 0.25, [1 / power for power in (11, 9, 7, 5, 3, 1)], value)


def _half_powers(site: Site) -> tuple[Node, Node]:
    """e^x / 2 and e^-x / 2."""
    op, x, half = site.op, site[0], site.number(0.5)
    rising, falling = (op.Exp(op.Mul(x, site.number(sign / 2))) for sign in (1, -1))
    return op.Mul(rising, op.Mul(rising, half)), op.Mul(falling, op.Mul(falling, half))


def _near_zero(site: Site, bound: float, odd: list[float], value: Node) -> Node:
    """x times a polynomial of x^2 where |x| is below the bound, and else the value; what is far off is clipped away."""
    op, x = site.op, site[0]
    limit = site.number(bound)
    near = op.clip(x, site.number(-bound), limit)
    series = op.Mul(near, polynomial(site, op.Mul(near, near), odd))
    return op.Where(op.Less(op.Abs(x), limit), series, value)


def _one(site: Site) -> Array:
    site.float_type()
    return site.number(1)
