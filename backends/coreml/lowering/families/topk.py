"""The largest or smallest numbers of an axis, and their places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.families.reduce import first_of
from onnxopt.backends.coreml.lowering.numbers import operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_COMPARISONS = 1 << 22
"""How many are made so that equal numbers come in ONNX's order, at most."""


@lowers("TopK")
def topk(site: Site) -> Any:
    """`mb.topk` for the numbers; it does not promise which of equal ones comes first, ONNX does: the first.

    The place of the j-th number is found among the places where that number stands: the (n + 1)-th of them, where n
    numbers before it are equal to it.
    """
    counts = site.ints(1, "k")
    site.require(counts is not None and len(counts) == 1, "attribute k is missing")
    assert counts is not None
    count = counts[0]
    rank, x = site.rank(0), operand(site, 0)
    axis = site.axis(rank, -1)
    largest = bool(site.attr("largest", 1))
    site.attr("sorted", 1)  # sorted is one of the orders that 0 allows
    values, places = mb.topk(x=x, k=count, axis=axis, ascending=not largest, name=site.name)
    if len(site.node.outputs) < 2 or not site.node.outputs[1].name:
        return [values, None]
    if count == 1:
        return values, first_of(site, mb.equal(x=x, y=values), axis)[0]
    fixed = [int(dim) for dim in site.shape(0) if isinstance(dim, (int, np.integer))]
    at_hand = isinstance(site.shape(0)[axis], (int, np.integer)) and len(fixed) >= rank - 1
    if not at_hand or math.prod(fixed) * count > _COMPARISONS:
        site.note("equal numbers may come in another order than in ONNX")
        return values, places
    return values, _places(x, values, axis)


def _places(x: Any, values: Any, axis: int) -> Any:
    rank, count, size = len(x.shape), values.shape[axis], x.shape[axis]
    last = [each for each in range(rank) if each != axis] + [axis]
    if axis != rank - 1:
        x, values = mb.transpose(x=x, perm=last), mb.transpose(x=values, perm=last)
    shape = [int(dim) if isinstance(dim, (int, np.integer)) else -1 for dim in values.shape]
    x, column = mb.reshape(x=x, shape=[-1, 1, size]), mb.reshape(x=values, shape=[-1, count, 1])
    before = np.tril(np.ones((1, count, count), np.int32), -1)
    alike = mb.cast(x=mb.equal(x=column, y=mb.reshape(x=values, shape=[-1, 1, count])), dtype="int32")
    equals = mb.reduce_sum(x=mb.mul(x=alike, y=before), axes=[2], keep_dims=True)
    stands = mb.cast(x=mb.equal(x=x, y=column), dtype="int32")
    passed = mb.less_equal(x=mb.cumsum(x=stands, axis=2), y=equals)
    found = mb.reduce_sum(x=mb.cast(x=passed, dtype="int32"), axes=[2], keep_dims=False)
    found = mb.reshape(x=found, shape=shape)
    return mb.transpose(x=found, perm=[int(each) for each in np.argsort(last)]) if axis != rank - 1 else found
