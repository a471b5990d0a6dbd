"""Arithmetic of narrow integers in int32, where each of them has its place.

Sums, differences and products wrap around, as onnxruntime's do; the operators before the Cast see to that, since
targets differ in whether a Cast wraps or saturates.
"""

from __future__ import annotations

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site

_INT32 = np.dtype(np.int32)
_UINT8 = np.dtype(np.uint8)
COMPARING = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_KEEPING = ("Max", "Min", "Div")
_BYTES = (np.dtype(np.int8), _UINT8)


def in_int32(site: Site) -> Result:
    """Cast, compute, cast back: for uint8, and comparisons of int8, int16 and uint16."""
    op, dtype = site.op, site.dtype()
    inputs = [op.cast(x, _INT32) for x in site.node.inputs]
    if site.node.op in COMPARING:
        return op.make(site.node.op, *inputs)
    if dtype != _UINT8:
        raise NoMatch(f"{dtype} is narrower than what it would be computed in")
    if site.node.op in _KEEPING:
        return op.cast(op.make(site.node.op, *inputs), dtype)
    return op.cast(_wrapped(site, op.make(site.node.op, *inputs)), dtype)


def _wrapped(site: Site, value: Node) -> Tensor | Node:
    """A sum, difference or product of two bytes, modulo 256."""
    op, span, most = site.op, np.array(256, np.int32), np.array(255, np.int32)
    if site.node.op == "Add":
        return op.Where(op.Greater(value, most), op.Sub(value, span), value)
    if site.node.op == "Sub":
        return op.Where(op.Less(value, np.array(0, np.int32)), op.Add(value, span), value)
    return op.Sub(value, op.Mul(op.Div(value, span), span))


def bytes_in_int32(site: Site) -> Result:
    """Clip, Max, Min, Mod of bytes, whose result is a byte again: cast, computed, cast back."""
    op, dtype = site.op, site.dtype()
    if dtype not in _BYTES:
        raise NoMatch(f"'{site[0].name}' is {dtype}")
    inputs = [op.cast(x, _INT32) if x.name else None for x in site.node.inputs]
    return op.cast(op.make(site.node.op, *inputs, **site.node.attrs), dtype)


def max_pool_of_bytes(site: Site) -> Result:
    """MaxPool of bytes in float16, which has all of them."""
    op, dtype = site.op, site.dtype()
    if dtype not in _BYTES:
        raise NoMatch(f"'{site[0].name}' is {dtype}")
    if site.used(1):
        raise NoMatch(f"its indices '{site.node.outputs[1].name}' are read")
    return op.cast(op.MaxPool(op.cast(site[0], np.dtype(np.float16)), **site.node.attrs), dtype)


def power_of_float(site: Site) -> Result:
    """x^n of a floating-point x, n an integer: n in the type of x, where float32 has every n that matters."""
    dtype = site.float_type()
    if site.is_known(1):
        return site.op.Pow(site[0], site.value(1).astype(dtype))
    return site.op.Pow(site[0], site.op.cast(site[1], dtype))


def bitwise_not(site: Site) -> Result:
    """-1 - x: two's complement."""
    if site.dtype().kind != "i":
        raise NoMatch(f"'{site[0].name}' is {site.dtype()}")
    return site.op.Sub(site.number(-1), site[0])
