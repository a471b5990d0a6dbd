"""Operators upon single numbers of several tensors that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.numbers import arrays, is_float, like, operand, truncated_quotient, wrapped
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site

_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul"}
_VARIADIC = {"Max": "maximum", "Min": "minimum", "Sum": "add", "Mean": "add"}


def _quotient(x: Array, y: Array) -> Array:
    return x / y if x.dtype.kind == "f" else (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)


_KNOWN: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _quotient,
    "Max": np.maximum,
    "Min": np.minimum,
    "Sum": np.add,
}


def require_numpy_broadcasting(site: Site) -> None:
    """Refuse the broadcasting by attributes that opsets before 7 have."""
    site.require(site.opset >= 7, "before opset 7 it broadcasts by attributes; run convert-opset{to=13} before")


@lowers(*_BINARY)
def binary(site: Site) -> Any:
    """Two tensors, in floats or integers."""
    require_numpy_broadcasting(site)
    known = arrays(site)
    if known is not None and known[0].dtype in (np.int32, np.float32):
        return _KNOWN[site.node.op](*known)
    x, y = operand(site, 0), operand(site, 1)
    if site.node.op == "Sub" and _are_alike(x, y):
        return np.zeros(tuple(x.shape), np.int32)
    return wrapped(site, getattr(mb, _BINARY[site.node.op])(x=x, y=y, name=site.name), site.dtype(0))


def _are_alike(x: Any, y: Any) -> bool:
    """Whether two Vars are the same flexible dimensions: their difference is known, as a Pad by it wants."""
    if x.dtype != types.int32 or x.sym_val is None or y.sym_val is None or tuple(x.shape) != tuple(y.shape):
        return False
    return bool(np.array_equal(x.sym_val, y.sym_val))


@lowers("Div")
def div(site: Site) -> Any:
    """Of integers, the quotient is rounded toward zero."""
    require_numpy_broadcasting(site)
    known = arrays(site)
    if known is not None and known[0].dtype in (np.int32, np.float32) and known[1].all():
        return _quotient(*known)
    x, y = operand(site, 0), operand(site, 1)
    if is_float(x):
        return mb.real_div(x=x, y=y, name=site.name)
    return wrapped(site, truncated_quotient(x, y, site.dtype(0).kind == "i"), site.dtype(0))


@lowers("Mod")
def mod(site: Site) -> Any:
    """`mb.mod` has the sign of the divisor, as Python; with `fmod` the sign is that of the dividend, as in C."""
    x, y = operand(site, 0), operand(site, 1)
    if not site.attr("fmod", 0):
        return mb.mod(x=x, y=y, name=site.name)
    rest = mb.mod(x=mb.abs(x=x), y=mb.abs(x=y))
    return mb.mul(x=rest, y=mb.sign(x=x), name=site.name)


@lowers("Pow")
def power(site: Site) -> Any:
    """The result is of the type of the base."""
    require_numpy_broadcasting(site)
    x, exponent = operand(site, 0), site.value(1)
    if isinstance(exponent, np.ndarray):
        whole = is_float(x) or bool((exponent == np.round(exponent)).all() and (exponent >= 0).all())
        site.require(whole, f"input 1 '{site.node.inputs[1].name}' makes fractions of integers")
        if is_float(x) and exponent.size == 1 and exponent.ndim <= len(x.shape) and exponent.reshape(-1)[0] == 2:
            return mb.square(x=x, name=site.name)
        return wrapped(site, mb.pow(x=x, y=like(x, exponent), name=site.name), site.dtype(0))
    y = operand(site, 1)
    if is_float(x) and not is_float(y):
        y = mb.cast(x=y, dtype="fp16" if site.dtype(0) == np.float16 else "fp32")
    site.require(is_float(x) or not is_float(y), f"input 1 '{site.node.inputs[1].name}' is no integer and the base is")
    return wrapped(site, mb.pow(x=x, y=y, name=site.name), site.dtype(0))


@lowers(*_VARIADIC)
def variadic(site: Site) -> Any:
    """Any number of tensors."""
    site.require(site.opset >= 8 or len(site) == 1, "before opset 8 it does not broadcast; run convert-opset before")
    known, op = arrays(site), site.node.op
    if known is not None and op in _KNOWN:
        return reduce(_KNOWN[op], known)
    values = [operand(site, index) for index in range(len(site))]
    if len(values) == 1:
        return mb.identity(x=values[0], name=site.name)
    found = reduce(lambda x, y: getattr(mb, _VARIADIC[op])(x=x, y=y), values)
    return mb.real_div(x=found, y=like(found, len(values)), name=site.name) if op == "Mean" else found
