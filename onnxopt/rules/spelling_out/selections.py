"""Which element is the largest, and which part of a matrix stays."""

from __future__ import annotations

import numpy as np

from onnxopt.ir import dtypes
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.purity import may_train
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site

_CHOSEN = tuple(map(np.dtype, (np.float16, np.float32, np.int32, np.int64, np.uint8)))


def hardmax(site: Site) -> Result:
    """1 at the first of the largest, and else 0: the positions compared with that of the maximum."""
    if site.opset < 13:
        raise NoMatch("below opset 13 it is over several axes: convert-opset{opset=13} first")
    op, shape, axis = site.op, site.shape(), site.axis("axis", -1)
    dtype = site.float_type()
    largest = op.Cast(op.ArgMax(site[0], axis=axis, keepdims=1), to=dtypes.to_onnx(np.int32))
    places = np.arange(shape[axis], dtype=np.int32).reshape([-1 if each == axis else 1 for each in range(len(shape))])
    return op.cast(op.Equal(largest, places), dtype)


def arg_last(site: Site) -> Result:
    """The last of the largest or smallest: n - 1 less the first one of what is reversed."""
    op, axis, keep = site.op, site.axis(), site.attr("keepdims")
    size = site.shape()[axis]
    reversed_ = op.slice(site[0], axis, -1, -(2**31), -1)
    first = op.make(site.node.op, reversed_, axis=axis, keepdims=keep)
    return op.Sub(np.array(size - 1, np.int64), first)


def trilu(site: Site) -> Result:
    """x where a constant triangle says so, and else 0."""
    shape, dtype = site.shape(), site.dtype()
    by = int(site.value(1).reshape(-1)[0]) if site.given(1) else 0
    keep = np.tri(shape[-2], shape[-1], by if not site.attr("upper") else by - 1, dtype=np.bool_)
    mask = keep if not site.attr("upper") else ~keep
    if dtype.kind == "b":
        return site.op.And(mask, site[0])
    if dtype not in _CHOSEN:
        raise NoMatch(f"'{site[0].name}' is {dtype}, which not every runtime chooses by Where")
    return site.op.Where(mask, site[0], np.zeros((), dtype))


def scatter(site: Site) -> Result:
    """ScatterElements, which is its name since opset 11."""
    return site.op.ScatterElements(*site.node.inputs, **site.node.attrs)


def added_mask(site: Site) -> Result:
    """Attention with a mask of numbers, 0 where the mask of truth values is true and else -inf, by its definition."""
    dtype = site.float_type()
    inputs: list[Tensor | Node | None] = [tensor if tensor.name else None for tensor in site.node.inputs]
    inputs[3] = site.op.Where(site[3], np.zeros((), dtype), np.array(-np.inf, dtype))
    made = site.op.Attention(*inputs, **site.node.attrs)
    if any(site.used(index) for index in range(1, len(site.node.outputs))):
        raise NoMatch("it has several outputs")
    return made


def compress(site: Site) -> Result:
    """A Gather of the elements that a known condition keeps."""
    kept = np.flatnonzero(site.value(1))
    x: Tensor | Node = site[0]
    axis = site.attr("axis")
    if axis is None:
        x = site.op.Reshape(x, np.array([-1], np.int64))
    return site.op.Gather(x, kept, axis=0 if axis is None else axis)


def only_input(site: Site) -> Result:
    """Sum, Mean, Max or Min of one input is that input."""
    return site[0]


def dropout(site: Site) -> Result:
    """Without training it is its input."""
    if site.used(1):
        raise NoMatch(f"its mask '{site.node.outputs[1].name}' is read")
    if may_train(site.node, site.opset):
        raise NoMatch("it may be training")
    return site[0]


def determinant(site: Site) -> Result:
    """Of matrices of up to three rows: ad - bc, and Laplace's expansion."""
    shape = site.shape()
    site.float_type()
    size = shape[-1]
    if not 1 <= size <= 3:
        raise NoMatch(f"the determinant of {size} rows: up to 3 are spelled out")
    op, last = site.op, len(shape) - 1
    rows = [op.slice(site[0], last - 1, row, row + 1) for row in range(size)]
    cell = [[op.slice(row, last, column, column + 1) for column in range(size)] for row in rows]

    def minor(below: int, columns: list[int]) -> Node:
        if len(columns) == 1:
            return cell[below][columns[0]]
        total: Node | None = None
        for index, column in enumerate(columns):
            part = op.Mul(cell[below][column], minor(below + 1, columns[:index] + columns[index + 1 :]))
            total = part if total is None else op.make("Sub" if index % 2 else "Add", total, part)
        assert total is not None
        return total

    return op.squeeze(minor(0, list(range(size))), [last - 1, last])
