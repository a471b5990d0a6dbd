"""Activation functions by simpler ones."""

from __future__ import annotations

from onnxopt.rules.spelling_out.polynomials import polynomial
from onnxopt.rules.spelling_out.site import Result, Site

_ERF_END = 3.7439211627767994
"""From here on erf is 1 in float32."""
_ERF_ABOVE = (
    0.00022905065861350646,
    0.0034082910107109506,
    0.050955695062380861,
    0.18520832239976145,
    1.128379143519084,
)
_ERF_BELOW = (
    -1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885, 0.014070470171167667,
    0.11098505178285362, 0.49746925110067538, 1.0,
)  # fmt: skip
"""The rational approximation x p(x^2) / q(x^2) that XLA (`ErfImpl32`) and Eigen (`generic_fast_erf_float`) use."""


def erf(site: Site) -> Result:
    """x p(x^2) / q(x^2), which is within 4e-7 of erf(x)."""
    op, end = site.op, site.number(_ERF_END)
    site.float_type()
    x = op.clip(site[0], site.number(-_ERF_END), end)
    square = op.Mul(x, x)
    above, below = (polynomial(site, square, coefficients) for coefficients in (_ERF_ABOVE, _ERF_BELOW))
    return op.Div(op.Mul(x, above), below)


def softsign(site: Site) -> Result:
    """x / (1 + |x|), by its definition."""
    site.float_type()
    return site.op.Div(site[0], site.op.Add(site.op.Abs(site[0]), site.number(1)))


def celu(site: Site) -> Result:
    """max(0, x) + alpha (exp(min(0, x) / alpha) - 1) = alpha elu(x / alpha), for alpha above 0."""
    site.float_type()
    alpha = site.attr("alpha")
    op = site.op
    if alpha == 1:
        return op.Elu(site[0])
    return op.Mul(op.Elu(op.Div(site[0], site.number(alpha))), site.number(alpha))


def shrink(site: Site) -> Result:
    """x + bias below -lambd, x - bias above lambd, and 0 between them."""
    site.float_type()
    op, x = site.op, site[0]
    bound, bias = site.attr("lambd"), site.attr("bias")
    zero = site.number(0)
    below, above = (op.Add(x, site.number(by)) for by in (bias, -bias)) if bias else (x, x)
    upper = op.Where(op.Greater(x, site.number(bound)), above, zero)
    return op.Where(op.Less(x, site.number(-bound)), below, upper)
