"""Operators upon the bits of integers, of which MIL has none: said by quotients, rests and sums, in 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import arrays, operand, wrapped
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_BITS = 32
_POWERS = np.left_shift(np.int64(1), np.arange(31)).astype(np.int32)
"""2^0 to 2^30."""
_KNOWN = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}


@lowers("BitShift")
def bit_shift(site: Site) -> Any:
    """By powers of two. Beyond the bits there are, as well as below zero, only copies of the sign are left, or zeros.

    To the left, the bits that stay are taken apart before: no product is beyond 32 bits.
    """
    direction = site.attr("direction")
    site.require(direction in ("LEFT", "RIGHT"), f"attribute direction={direction!r} is none")
    dtype = site.dtype(0)
    bits = min(8 * dtype.itemsize, _BITS)
    unsigned = dtype.kind == "u" and bits == _BITS
    site.require(not unsigned or direction == "RIGHT", f"attribute direction='LEFT' overflows in {dtype}")
    x, amount = operand(site, 0), _amount(operand(site, 1), bits)
    if direction == "RIGHT":
        most = np.minimum(np.arange(bits + 1), 30)
        near = mb.floor_div(x=x, y=_chosen(_POWERS[most], amount))
        return mb.floor_div(x=near, y=_chosen(_POWERS[np.arange(bits + 1) - most], amount), name=site.name)
    # the bits that stay below the sign, and the one that becomes the sign; one that is not moved keeps them all
    staying = _chosen(_POWERS[np.clip(bits - 1 - np.arange(bits + 1), 0, 30)], amount)
    below = mb.mod(x=x, y=staying)
    sign = mb.mod(x=mb.floor_div(x=x, y=staying), y=np.int32(2))
    moved = mb.mul(x=below, y=_chosen(_POWERS[np.minimum(np.arange(bits + 1), 30)], amount))
    found = mb.add(x=moved, y=mb.mul(x=sign, y=np.int32(-(1 << (bits - 1)))))
    kept = mb.cast(x=mb.less(x=amount, y=np.int32(bits)), dtype="int32")
    found = mb.select(cond=mb.equal(x=amount, y=np.int32(0)), a=x, b=mb.mul(x=found, y=kept))
    return wrapped(site, found, dtype)


def _amount(amount: Any, bits: int) -> Any:
    """Within [0, bits]: all that is beyond is as `bits`."""
    below = mb.cast(x=mb.less(x=amount, y=np.int32(0)), dtype="int32")
    whole = mb.add(x=amount, y=mb.mul(x=below, y=mb.sub(x=np.int32(bits), y=amount)))
    return mb.minimum(x=whole, y=np.int32(bits))


def _chosen(numbers: Any, which: Any) -> Any:
    return mb.gather(x=mb.const(val=numbers), indices=which, axis=0)


@lowers("BitwiseNot")
def bitwise_not(site: Site) -> Any:
    """-1 - x, and in unsigned numbers the largest less x."""
    known = arrays(site)
    dtype = site.dtype(0)
    site.require(dtype.kind == "i" or dtype.itemsize < 4, f"input 0 is of {dtype}, which Core ML has not")
    if known is not None:
        return np.bitwise_not(known[0])
    largest = -1 if dtype.kind == "i" else np.iinfo(dtype).max
    return mb.sub(x=np.int32(largest), y=operand(site, 0), name=site.name)


@lowers(*_KNOWN)
def bitwise(site: Site) -> Any:
    """Bit by bit, along an axis of their own."""
    known = arrays(site)
    op, dtype = site.node.op, site.dtype(0)
    if known is not None:
        return _KNOWN[op](*known)
    site.require(dtype.kind == "i" or dtype.itemsize < 4, f"input 0 is of {dtype}, which Core ML has not")
    x, y = operand(site, 0), operand(site, 1)
    rank = max(len(x.shape), len(y.shape))
    site.require(rank < 5, f"its result is of rank {rank}, and an axis of bits is added; Core ML has at most 5")
    x, y = _apart(x), _apart(y)
    if op == "BitwiseAnd":
        found = mb.mul(x=x, y=y)
    elif op == "BitwiseOr":
        found = mb.maximum(x=x, y=y)
    else:
        found = mb.abs(x=mb.sub(x=x, y=y))
    weights = np.append(_POWERS, np.int32(-(2**31)))
    return mb.reduce_sum(x=mb.mul(x=found, y=weights), axes=[-1], keep_dims=False, name=site.name)


def _apart(x: Any) -> Any:
    """[..., 32], 0 and 1, the lowest first."""
    wide = mb.expand_dims(x=x, axes=[len(x.shape)])
    shifted = mb.floor_div(x=mb.floor_div(x=wide, y=np.append(_POWERS, _POWERS[-1])), y=_LAST_HALVED)
    return mb.mod(x=shifted, y=np.int32(2))


_LAST_HALVED = np.append(np.ones(31, np.int32), np.int32(2))
"""2^31 is no number of 32 bits with a sign: it is divided by twice."""
