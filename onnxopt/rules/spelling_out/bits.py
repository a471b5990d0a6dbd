"""Operators on the bits of integers, by arithmetic.

Bytes are computed in int32; int32 and int64 in their own type, of which sums and products wrap around.
"""

from __future__ import annotations

import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site

_WIDE = {np.dtype(own): np.dtype(wide) for own, wide in (("i1", "i4"), ("u1", "i4"), ("i4", "i4"), ("i8", "i8"))}


def shifted(site: Site) -> Result:
    """x * 2^n modulo the width, or floor(x / 2^n); what the sign bit alone gives for n out of range (specification)."""
    op, own, wide = site.op, site.dtype(), _wide(site)
    width, is_left = 8 * own.itemsize, site.attr("direction") == "LEFT"
    is_narrow = own != wide
    most = width if is_left or is_narrow else width - 1  # 2^31 is none of int32; what is left then is the sign alone
    x, count = (op.cast(site[index], wide) if is_narrow else site[index] for index in (0, 1))
    inside = op.And(op.Greater(count, np.array(-1, wide)), op.Less(count, np.array(most, wide)))
    zero = np.array(0, wide)
    power = op.Gather(_powers(most, wide), op.Where(inside, count, zero))
    if is_left:
        found = op.Where(inside, _wrapped(site, op.Mul(x, power)) if is_narrow else op.Mul(x, power), zero)
    else:
        sign = op.Where(op.Less(x, zero), np.array(-1, wide), zero) if own.kind == "i" else zero
        found = op.Where(inside, _floor_quotient(site, x, power), sign)
    return op.cast(found, own) if is_narrow else found


def bitwise(site: Site) -> Result:
    """BitwiseAnd, BitwiseOr, BitwiseXor: the bits taken apart, each pair combined, and put together."""
    op, own, wide = site.op, site.dtype(), _wide(site)
    width, is_signed, is_narrow = 8 * own.itemsize, own.kind == "i", own != wide
    places = _powers(width - is_signed, wide)
    zero, parts, signs = np.array(0, wide), [], []
    for index in (0, 1):
        number = op.cast(site[index], wide) if is_narrow else site[index]
        spread = op.reshape(number, [*site.shape(index), 1])
        parts.append(op.Mod(_floor_quotient(site, spread, places), np.array(2, wide)))
        signs.append(op.Where(op.Less(number, zero), np.array(1, wide), zero) if is_signed else None)
    found = op.reduce("ReduceSum", op.Mul(_combined(site, *parts), places), [-1], keepdims=False)
    if signs[0] is not None and signs[1] is not None:
        weight = np.array(-(2 ** (width - 1)), wide)
        found = op.Add(found, op.Mul(_combined(site, signs[0], signs[1]), weight))
    return op.cast(found, own) if is_narrow else found


def bitwise_not(site: Site) -> Result:
    """-1 - x of a number with a sign, and 255 - x of a byte without."""
    op, own, wide = site.op, site.dtype(), _wide(site)
    if own == wide:
        return op.Sub(np.array(-1, wide), site[0])
    return op.cast(op.Sub(np.array(-1 if own.kind == "i" else 255, wide), op.cast(site[0], wide)), own)


def _wide(site: Site) -> DType:
    if site.dtype() not in _WIDE:
        raise NoMatch(f"'{site[0].name}' is {site.dtype()}, and this is for int8, uint8, int32 and int64")
    return _WIDE[site.dtype()]


def _powers(count: int, dtype: DType) -> Array:
    """2^0, 2^1, ...; the last of as many as the type has bits is its smallest number, which is the same modulo 2^n."""
    return np.array([2**each if each < 8 * dtype.itemsize - 1 else np.iinfo(dtype).min for each in range(count)], dtype)


def _floor_quotient(site: Site, x: Tensor | Node, power: Node | Array) -> Node:
    """floor(x / 2^n): the remainder, which is none below 0, taken away first."""
    return site.op.Div(site.op.Sub(x, site.op.Mod(x, power)), power)


def _wrapped(site: Site, value: Node) -> Node:
    """Modulo 256, as the byte that has these bits."""
    op, low = site.op, np.array(np.iinfo(site.dtype()).min, np.int32)
    return op.Add(op.Mod(op.Sub(value, low), np.array(256, np.int32)), low)


def _combined(site: Site, one: Node, other: Node) -> Node:
    """Of bits that are 0 and 1."""
    op, both = site.op, site.op.Mul(one, other)
    if site.node.op == "BitwiseAnd":
        return both
    return op.Sub(op.Add(one, other), both if site.node.op == "BitwiseOr" else op.Add(both, both))
