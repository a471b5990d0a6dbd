"""The discrete Fourier transform of a known length as products with matrices of cosines and sines."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site

_MOST = 4096
"""The length: the matrix of 4096 numbers by 4096 has 64 MiB."""


def dft(site: Site) -> Result:
    """y = x (C -+ j S), by the definition of DFT; one-sided: half of a spectrum given out, or read."""
    shape, dtype = site.shape(), site.float_type()
    axis, inverse, onesided = _axis(site), bool(site.attr("inverse", 0)), bool(site.attr("onesided", 0))
    length = _length(site, shape[axis], inverse and onesided)
    if not 0 < length <= _MOST:
        raise NoMatch(f"its length is {length}: up to {_MOST} is spelled out")
    half = length // 2 + 1
    used = min(shape[axis], half if inverse and onesided else length)
    real = _part(site, 0, axis, used)
    imaginary = _part(site, 1, axis, used) if shape[-1] == 2 else None
    angle = 2 * math.pi / length * (np.outer(np.arange(used), np.arange(length)) % length)
    if onesided and not inverse:
        angle = angle[:, :half]
    cosines, sines = np.cos(angle), np.sin(angle) * (-1 if inverse else 1)
    if inverse:
        factor = _multiplicity(used, length) if onesided else np.ones(used)
        cosines, sines = (each * factor[:, None] / length for each in (cosines, sines))
    parts = _product(site, real, imaginary, cosines.astype(dtype), sines.astype(dtype))
    shown = parts[:1] if inverse and onesided else parts
    outputs = [_restored(site, part, axis, len(shape) - 1) for part in shown]
    return site.op.Concat(*outputs, axis=-1) if len(outputs) > 1 else outputs[0]


def _axis(site: Site) -> int:
    rank = site.rank()
    if site.opset < 20:
        axis = site.attr("axis", 1)
    else:
        axis = int(site.value(2).reshape(-1)[0]) if site.given(2) else -2
    if axis % rank == rank - 1:
        raise NoMatch("its axis is that of the parts of the numbers")
    return int(axis % rank)


def _length(site: Site, size: int, from_half: bool) -> int:
    if site.given(1):
        return int(site.value(1).reshape(-1)[0])
    return 2 * (size - 1) if from_half else size


def _part(site: Site, index: int, axis: int, used: int) -> Tensor | Node:
    """The real or imaginary parts, of which the axis is the last."""
    op, shape = site.op, site.shape()
    found: Tensor | Node = op.squeeze(op.slice(site[0], len(shape) - 1, index, index + 1), [len(shape) - 1])
    if used < shape[axis]:
        found = op.slice(found, axis, 0, used)
    return _swapped(site, found, axis, len(shape) - 1)


def _product(
    site: Site, real: Tensor | Node, imaginary: Tensor | Node | None, cosines: Array, sines: Array
) -> tuple[Node, Node]:
    """(a + jb)(C - jS) = aC + bS + j(bC - aS)."""
    op = site.op
    if imaginary is None:
        return op.MatMul(real, cosines), op.MatMul(real, -sines)
    return (
        op.Add(op.MatMul(real, cosines), op.MatMul(imaginary, sines)),
        op.Sub(op.MatMul(imaginary, cosines), op.MatMul(real, sines)),
    )


def _multiplicity(used: int, length: int) -> Array:
    """How often each number of a half is in the whole spectrum: all but the first, and that in the middle, twice."""
    places = np.arange(used)
    return np.where((places == 0) | (2 * places == length), 1.0, 2.0)


def _restored(site: Site, part: Node, axis: int, rank: int) -> Node:
    op, moved = site.op, _swapped(site, part, axis, rank)
    return op.Unsqueeze(moved, np.array([rank], np.int64))


def _swapped(site: Site, x: Tensor | Node, axis: int, rank: int) -> Tensor | Node:
    if axis == rank - 1:
        return x
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return site.op.Transpose(x, perm=order)
