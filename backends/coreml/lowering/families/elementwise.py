"""Operators upon single numbers of one tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import arrays, float_operand, is_float, like, operand, wrapped
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_FLOATS = {
    "Acos": "acos",
    "Asin": "asin",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Round": "round",  # numpy's: halves go to the even number, as in ONNX
    "Sigmoid": "sigmoid",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
_KNOWN = {"Abs": np.abs, "Ceil": np.ceil, "Floor": np.floor, "Neg": np.negative, "Sqrt": np.sqrt, "Sign": np.sign}
"""What arithmetic upon shapes is made of."""


@lowers(*_FLOATS)
def floats(site: Site) -> Any:
    """What MIL has an operation for, in floats."""
    site.attr("consumed_inputs")  # of opset 1, without meaning
    known = arrays(site)
    if known is not None and site.node.op in _KNOWN:
        return _KNOWN[site.node.op](known[0])
    return getattr(mb, _FLOATS[site.node.op])(x=float_operand(site, 0), name=site.name)


@lowers("Abs", "Neg", "Sign")
def signs(site: Site) -> Any:
    """What is meant for integers as well."""
    known = arrays(site)
    if known is not None:
        return _KNOWN[site.node.op](known[0])
    x = operand(site, 0)
    if site.node.op == "Sign":
        return mb.sign(x=x, name=site.name)
    found = mb.abs(x=x, name=site.name) if site.node.op == "Abs" else mb.mul(x=x, y=like(x, -1), name=site.name)
    return wrapped(site, found, site.dtype(0))  # -(-128) is -128 in int8


@lowers("Reciprocal")
def reciprocal(site: Site) -> Any:
    """1 / x: `inverse` would add an epsilon."""
    x = float_operand(site, 0)
    return mb.real_div(x=like(x, 1), y=x, name=site.name)


@lowers("Log")
def log(site: Site) -> Any:
    """Without MIL's epsilon, which would make -103 of the logarithm of 0."""
    x = float_operand(site, 0)
    return mb.log(x=x, epsilon=like(x, 0), name=site.name)


@lowers("Asinh")
def asinh(site: Site) -> Any:
    """The sum of two halves that float16 holds: of x within [-1, 1], and of what is beyond.

    asinh(x) = atanh(x / sqrt(1 + x^2)), and for x >= 1 log(x) + log(1 + sqrt(1 + 1 / x^2)).
    """
    x = float_operand(site, 0)
    one = like(x, 1)
    near = mb.clip(x=x, alpha=like(x, -1), beta=one)
    near = mb.atanh(x=mb.real_div(x=near, y=mb.sqrt(x=mb.add(x=mb.square(x=near), y=one))))
    size = mb.maximum(x=mb.abs(x=x), y=one)
    root = mb.sqrt(x=mb.add(x=mb.square(x=mb.real_div(x=one, y=size)), y=one))
    far = mb.add(x=_log(size), y=_log(mb.add(x=root, y=one)))
    inside = mb.less(x=mb.abs(x=x), y=one)
    return mb.select(cond=inside, a=near, b=mb.mul(x=mb.sign(x=x), y=far), name=site.name)


@lowers("Acosh")
def acosh(site: Site) -> Any:
    """log(x) + log(1 + sqrt((x - 1) / x * (x + 1) / x)): no square that float16 could not hold.

    Beyond 60000 the root is 1 in float32 too; infinities stay out of it.
    """
    x = float_operand(site, 0)
    one, bounded = like(x, 1), mb.minimum(x=x, y=like(x, 60000))
    below, above = (mb.real_div(x=shift(x=bounded, y=one), y=bounded) for shift in (mb.sub, mb.add))
    root = mb.sqrt(x=mb.mul(x=below, y=above))
    return mb.add(x=_log(x), y=_log(mb.add(x=root, y=one)), name=site.name)


def _log(x: Any) -> Any:
    return mb.log(x=x, epsilon=like(x, 0))


@lowers("Clip")
def clip(site: Site) -> Any:
    """Bounds that are given by attributes (before opset 11) or inputs, none, one or both; the upper one wins."""
    bounds = [_bound(site, 1, "min"), _bound(site, 2, "max")]
    x = operand(site, 0)
    low, high = bounds
    known = all(isinstance(bound, np.ndarray) and bound.size == 1 for bound in bounds)
    if known and is_float(x) and low < high:
        return mb.clip(x=x, alpha=like(x, low.reshape(())), beta=like(x, high.reshape(())), name=site.name)
    if low is not None:
        x = mb.maximum(x=x, y=like(x, low) if isinstance(low, np.ndarray) else low)
    if high is not None:
        x = mb.minimum(x=x, y=like(x, high) if isinstance(high, np.ndarray) else high)
    return x if low is not None or high is not None else mb.identity(x=x, name=site.name)


def _bound(site: Site, index: int, name: str) -> Any:
    given = site.attr(name)
    if given is not None:
        return np.float32(given).reshape(())
    if not site.has(index):
        return None
    value = site.value(index)
    return value if isinstance(value, np.ndarray) else operand(site, index)
