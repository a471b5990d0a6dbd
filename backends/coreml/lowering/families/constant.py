"""Tensors that come from nothing, and nodes that change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import arrays, operand
from onnxopt.backends.coreml.lowering.registry import Refused, lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.values import narrowed
from onnxopt.ir import dtypes

_SCALARS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@lowers("Constant")
def constant(site: Site) -> Array:
    """Known: becomes an operation where one reads it. Strings and sparse tensors are refused."""
    name = site.node.outputs[0].name
    value = site.attr("value")
    if value is not None:
        return narrowed(value.read(), name)
    for attribute, dtype in _SCALARS.items():
        given = site.attr(attribute)
        if given is not None:
            return narrowed(np.asarray(given, dtype), name)
    kinds = ", ".join(sorted(site.node.attrs))
    raise Refused(f"attribute {kinds} cannot be said in MIL")


@lowers("ConstantOfShape")
def constant_of_shape(site: Site) -> Any:
    """`mb.fill` where the shape is computed."""
    given = site.attr("value")
    value = np.zeros(1, np.float32) if given is None else narrowed(given.read(), site.node.outputs[0].name)
    shape = site.value(0)
    if isinstance(shape, np.ndarray):
        return np.full(shape.reshape(-1).tolist(), value.reshape(-1)[0])
    number = value.reshape(-1)[0]
    number = number if value.dtype.kind in "fb" else np.int32(number)
    return mb.fill(shape=operand(site, 0), value=number, name=site.name)


@lowers("Identity")
def identity(site: Site) -> Any:
    """The same tensor."""
    return site.value(0)


@lowers("Dropout")
def dropout(site: Site) -> list[Any]:
    """Inference, or a ratio of 0: nothing is dropped, and the mask, where one is asked for, keeps everything."""
    site.require(site.opset >= 7, "before opset 7 it may be one of training; run convert-opset before")
    site.attr("ratio")
    site.attr("seed")
    ratio = site.value(1) if site.has(1) else None
    if site.has(2) and not (isinstance(ratio, np.ndarray) and not ratio.any()):
        site.require(not site.constant(2, "training_mode").any(), "input training_mode=True cannot be said in MIL")
    elif site.has(2):
        site.value(2)
    if len(site.node.outputs) < 2 or not site.node.outputs[1].name:
        return [site.value(0)]
    kind = np.dtype(np.bool_) if site.opset >= 10 else site.dtype(0)
    return [site.value(0), np.ones(site.sizes(0), kind)]


@lowers("OptionalHasElement", "OptionalGetElement")
def optional(site: Site) -> Any:
    """Of a tensor, which is always there, or of an input that is left out; Core ML has no optional values."""
    if site.node.op == "OptionalGetElement":
        return site.value(0)
    if site.has(0):
        site.value(0)
    return np.array(site.has(0))


@lowers("EyeLike")
def eye_like(site: Site) -> Array:
    """Known as soon as the shape is."""
    rows, columns = site.sizes(0)
    code = site.attr("dtype")
    dtype = site.dtype(0) if code is None else dtypes.to_numpy(int(code))
    return narrowed(np.eye(rows, columns, k=site.attr("k", 0)).astype(dtype), site.node.outputs[0].name)


@lowers("Range")
def arange(site: Site) -> Any:
    """`mb.range_1d` where a limit is computed: max(ceil((limit - start) / delta), 0) numbers."""
    known = arrays(site)
    if known is not None:
        start, limit, delta = (each.reshape(-1)[0] for each in known)
        return np.arange(start, limit, delta, dtype=known[0].dtype)
    start, limit, delta = (operand(site, index) for index in range(3))
    start, limit, delta = (_scalar(each) for each in (start, limit, delta))
    return mb.range_1d(start=start, end=limit, step=delta, name=site.name)


def _scalar(var: Any) -> Any:
    return mb.squeeze(x=var, axes=[0]) if len(var.shape) else var


@lowers("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
def random(site: Site) -> Any:
    """Nothing that could be verified: other numbers every time."""
    site.refuse("it draws random numbers; make them an input of the model")
