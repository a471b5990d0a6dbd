"""Element types: floats, int32 for all integers, and truth values."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.numbers import is_float, like, operand, wrapped
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.values import narrowed
from onnxopt.ir import dtypes

_FLOATS = {np.dtype(np.float32): "fp32", np.dtype(np.float16): "fp16"}


@lowers("Cast")
def cast(site: Site) -> Any:
    """Floats are truncated toward zero; integers wrap into narrower ones; what is not zero is true."""
    dtype = dtypes.to_numpy(int(site.attr("to")))
    site.require(dtype is not None, f"attribute to={site.attr('to')} cannot be said in MIL")
    assert dtype is not None
    return _converted(site, np.dtype(dtype))


@lowers("CastLike")
def cast_like(site: Site) -> Any:
    """As Cast: of input 1 only the element type counts."""
    site.value(1)
    return _converted(site, site.dtype(1))


def _converted(site: Site, dtype: np.dtype[Any]) -> Any:
    site.attr("saturate")  # these two are for floats of 8 bits only (operator Cast, "Attributes"), which are refused
    site.attr("round_mode")
    given = site.dtype(0)
    for each in (given, dtype):
        fits = each in _FLOATS or each.kind in "iub"
        site.require(fits and each.isbuiltin == 1, f"Core ML has no {each}: attribute to cannot be said in MIL")
    known = site.value(0)
    if isinstance(known, np.ndarray):
        return _known(site, known, dtype)
    x = operand(site, 0)
    if dtype in _FLOATS:
        return x if x.dtype == _MIL[dtype] else mb.cast(x=x, dtype=_FLOATS[dtype], name=site.name)
    if dtype.kind == "b":
        return x if x.dtype == types.bool else mb.not_equal(x=x, y=like(x, 0), name=site.name)
    site.require(
        dtype not in (np.uint32, np.uint64) or given.kind in "ubf",
        f"attribute to: {dtype} of what may be negative",
    )
    whole = mb.cast(x=x, dtype="int32") if is_float(x) or x.dtype == types.bool else x
    fits = given.kind == "b" or (given.kind in "iu" and np.can_cast(given, dtype))
    return whole if fits else wrapped(site, whole, dtype)


_MIL = {np.dtype(np.float32): types.fp32, np.dtype(np.float16): types.fp16}


def _known(site: Site, array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        return narrowed(array.astype(dtype), site.node.outputs[0].name)
