"""Scatter with a reduction, as a reduction over what falls on each element; MaxUnpool as a scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site

_MOST = 1 << 20
"""Elements of the tensor that has each update for each place."""
_REDUCTIONS = {"add": ("ReduceSum", "Add"), "mul": ("ReduceProd", "Mul"), "max": ("ReduceMax", "Max"),
               "min": ("ReduceMin", "Min")}  # fmt: skip


def scatter_nd(site: Site) -> Result:
    """The updates of each row reduced, then joined with the row: ScatterND with a reduction."""
    op, shape, places = site.op, site.shape(), site.shape(1)
    depth = places[-1]
    rows, width, count = math.prod(shape[:depth]), math.prod(shape[depth:]), math.prod(places[:-1])
    reduction = _reduction(site, rows * width * count)
    dims = np.array(shape[:depth], np.int64)
    strides = np.array([math.prod(shape[at + 1 : depth]) for at in range(depth)], np.int64)
    indices = _from_front(site, dims)
    numbers = op.reshape(op.reduce("ReduceSum", op.Mul(indices, strides), [-1]), [1, count, 1])
    falls = op.Equal(numbers, np.arange(rows).reshape(rows, 1, 1))
    updates = op.reshape(site[2], [1, count, width])
    found = _reduced(site, falls, updates, 1, reduction)
    return op.reshape(op.make(_REDUCTIONS[reduction][1], op.reshape(site[0], [rows, width]), found), shape)


def scatter_elements(site: Site) -> Result:
    """The same along one axis: ScatterElements with a reduction."""
    op, shape, places, axis = site.op, site.shape(), site.shape(1), site.axis()
    reduction = _reduction(site, math.prod(places) * shape[axis])
    if any(own != other for at, (own, other) in enumerate(zip(shape, places, strict=True)) if at != axis):
        raise NoMatch(f"its indices of shape {list(places)} do not cover {list(shape)} but for axis {axis}")
    before, after = list(places[:axis]), list(places[axis:])
    indices = op.reshape(_from_front(site, np.array(shape[axis], np.int64)), [*before, 1, *after])
    every = np.arange(shape[axis]).reshape([*([1] * axis), shape[axis], *([1] * len(after))])
    updates = op.reshape(site[2], [*before, 1, *after])
    found = _reduced(site, op.Equal(indices, every), updates, axis + 1, reduction)
    return op.make(_REDUCTIONS[reduction][1], site[0], found)


def max_unpool(site: Site) -> Result:
    """The elements scattered into zeros, by indices into the whole of the output."""
    op, shape, kernel = site.op, site.shape(), site.attr("kernel_shape")
    rank = len(kernel)
    strides, pads = site.attr("strides") or [1] * rank, site.attr("pads") or [0] * (2 * rank)
    spatial = [(size - 1) * strides[at] + kernel[at] - pads[at] - pads[at + rank] for at, size in enumerate(shape[2:])]
    wanted = [*shape[:2], *spatial]
    if site.given(2) and site.value(2).reshape(-1).tolist() != wanted:
        raise NoMatch("its output_shape is another one than its windows give, and runtimes do not agree on it")
    zeros = np.zeros(math.prod(wanted), site.dtype())
    flat = [op.reshape(each, [math.prod(shape)]) for each in (site[0], site[1])]
    return op.reshape(op.ScatterElements(op.Identity(zeros), flat[1], flat[0], axis=0), wanted)


def _reduction(site: Site, elements: int) -> str:
    name = site.attr("reduction")
    if name not in _REDUCTIONS:
        raise NoMatch(f"its reduction is '{name}'")
    if not 0 < elements <= _MOST:
        raise NoMatch(f"each update for each place makes {elements} elements: up to {_MOST} are spelled out")
    return str(name)


def _from_front(site: Site, dims: Array) -> Node:
    """The indices, none of which is negative then."""
    op = site.op
    indices = site[1] if site.dtype(1) == np.int64 else op.cast(site[1], np.dtype(np.int64))
    zero = np.array(0, np.int64)
    return op.Add(indices, op.Where(op.Less(indices, zero), dims, zero))


def _reduced(site: Site, falls: Node, updates: Tensor | Node, axis: int, reduction: str) -> Node:
    op = site.op
    chosen = op.Where(falls, updates, _neutral(reduction, site.dtype()))
    return op.reduce(_REDUCTIONS[reduction][0], chosen, [axis], keepdims=False)


def _neutral(reduction: str, dtype: DType) -> Array:
    if reduction in ("add", "mul"):
        return np.array(int(reduction == "mul"), dtype)
    if dtype.kind == "f":
        return np.array(-np.inf if reduction == "max" else np.inf, dtype)
    limits: Sequence[int] = (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.array(limits[reduction == "min"], dtype)
