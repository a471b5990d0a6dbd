"""Comparisons, logic, and choice by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.carriers import is_fixed
from onnxopt.backends.coreml.lowering.families.arithmetic import require_numpy_broadcasting
from onnxopt.backends.coreml.lowering.numbers import arrays, float_operand, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_COMPARED = {
    "Equal": ("equal", np.equal),
    "Greater": ("greater", np.greater),
    "GreaterOrEqual": ("greater_equal", np.greater_equal),
    "Less": ("less", np.less),
    "LessOrEqual": ("less_equal", np.less_equal),
}
_LOGIC = {
    "And": ("logical_and", np.logical_and),
    "Or": ("logical_or", np.logical_or),
    "Xor": ("logical_xor", np.logical_xor),
}


@lowers(*_COMPARED)
def compared(site: Site) -> Any:
    """Two tensors of floats, integers, or truth values (for which MIL compares none)."""
    require_numpy_broadcasting(site)
    name, function = _COMPARED[site.node.op]
    known = arrays(site)
    if known is not None:
        return function(*known)
    x, y = operand(site, 0), operand(site, 1)
    if x.dtype == types.bool:
        x, y = mb.cast(x=x, dtype="int32"), mb.cast(x=y, dtype="int32")
    return getattr(mb, name)(x=x, y=y, name=site.name)


@lowers(*_LOGIC)
def logic(site: Site) -> Any:
    """Two tensors of truth values."""
    require_numpy_broadcasting(site)
    name, function = _LOGIC[site.node.op]
    known = arrays(site)
    if known is not None:
        return function(*known)
    return getattr(mb, name)(x=site.var(0), y=site.var(1), name=site.name)


@lowers("Not")
def negation(site: Site) -> Any:
    """One tensor of truth values."""
    known = arrays(site)
    return np.logical_not(known[0]) if known is not None else mb.logical_not(x=site.var(0), name=site.name)


@lowers("Where")
def where(site: Site) -> Any:
    """Three tensors that broadcast."""
    known = arrays(site)
    if known is not None:
        return np.where(*known)
    condition, a, b = site.var(0), operand(site, 1), operand(site, 2)
    whole = _broadcast(site, condition, a, b)
    if _broadcast(site, a, b) != whole:  # coremltools infers the shape of a and b alone
        a = _expanded(a, whole) if is_fixed(whole) else _widened(a, condition)
    return mb.select(cond=condition, a=a, b=b, name=site.name)


def _broadcast(site: Site, *values: Any) -> tuple[Any, ...]:
    """The shape of what broadcasts; flexible dimensions have to be alike."""
    rank = max(len(value.shape) for value in values)
    shapes = [(1,) * (rank - len(value.shape)) + tuple(value.shape) for value in values]
    found = []
    for dims in zip(*shapes, strict=True):
        sizes = {dim for dim in dims if not isinstance(dim, (int, np.integer)) or dim != 1}
        site.require(len(sizes) < 2, f"shapes {shapes} broadcast to something that is not fixed")
        found.append(sizes.pop() if sizes else 1)
    return tuple(found)


def _expanded(x: Any, shape: tuple[int, ...]) -> Any:
    given = (1,) * (len(shape) - len(x.shape)) + tuple(x.shape)
    x = mb.reshape(x=x, shape=list(given))
    return mb.tile(x=x, reps=[int(to) // int(dim) for to, dim in zip(shape, given, strict=True)])


def _widened(x: Any, condition: Any) -> Any:
    """x in the shape that it and the condition broadcast to, flexible dimensions too: nothing is added to it."""
    if x.dtype == types.bool:
        return mb.logical_or(x=x, y=mb.logical_xor(x=condition, y=condition))
    nothing = mb.mul(x=mb.cast(x=condition, dtype=types.builtin_to_string(x.dtype)), y=like(x, 0))
    return mb.add(x=x, y=nothing)


@lowers("IsNaN")
def is_nan(site: Site) -> Any:
    """The only number that is not equal to itself."""
    x = float_operand(site, 0)
    return mb.not_equal(x=x, y=x, name=site.name)


@lowers("IsInf")
def is_inf(site: Site) -> Any:
    """Both infinities, or one of them."""
    positive, negative = bool(site.attr("detect_positive", 1)), bool(site.attr("detect_negative", 1))
    x = float_operand(site, 0)
    if positive and negative:
        return mb.equal(x=mb.abs(x=x), y=like(x, np.inf), name=site.name)
    if not positive and not negative:
        return mb.less(x=mb.abs(x=x), y=like(x, 0), name=site.name)  # nowhere
    return mb.equal(x=x, y=like(x, np.inf if positive else -np.inf), name=site.name)
