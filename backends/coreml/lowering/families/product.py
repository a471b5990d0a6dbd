"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.encoders import stored
from onnxopt.backends.coreml.lowering.carriers import reshaped
from onnxopt.backends.coreml.lowering.families.arithmetic import require_numpy_broadcasting
from onnxopt.backends.coreml.lowering.numbers import arrays, is_float, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site


@lowers("MatMul")
def matmul(site: Site) -> Any:
    """As numpy: vectors are matrices of one row or one column, and other axes broadcast."""
    known = arrays(site)
    if known is not None:
        return np.matmul(known[0], known[1])
    x, y = operand(site, 0), operand(site, 1)
    vectors = [len(each.shape) == 1 for each in (x, y)]
    if not any(vectors):
        return mb.matmul(x=x, y=y, name=site.name)
    left = mb.expand_dims(x=x, axes=[0]) if vectors[0] else x
    right = mb.expand_dims(x=y, axes=[1]) if vectors[1] else y
    axes = [-2] * vectors[0] + [-1] * vectors[1]
    return mb.squeeze(x=mb.matmul(x=left, y=right), axes=axes, name=site.name)


@lowers("Gemm")
def gemm(site: Site) -> Any:
    """alpha * A * B + beta * C; `mb.linear` where B is a constant and C a bias."""
    require_numpy_broadcasting(site)
    alpha, beta = site.attr("alpha", 1.0), site.attr("beta", 1.0)
    turned_a, turned_b = bool(site.attr("transA", 0)), bool(site.attr("transB", 0))
    a, weight = operand(site, 0), site.value(1)
    whole = not is_float(a)
    for name, factor in (("alpha", alpha), ("beta", beta)):
        site.require(not whole or float(factor).is_integer(), f"attribute {name}={factor} of integers")
    if turned_a:
        a = mb.transpose(x=a, perm=[1, 0])
    bias = _bias(site, beta, weight, turned_b)
    if not whole and isinstance(weight, np.ndarray) and alpha == 1 and (bias is not None or not site.has(2)):
        kernel = (
            operand(site, 1) if turned_b else stored(weight.T, site.values.fresh(f"{site.name}_weight"), site.target)
        )
        return mb.linear(x=a, weight=kernel, name=site.name, **({} if bias is None else {"bias": bias}))
    added = site.has(2) and beta != 0
    product = mb.matmul(x=a, y=operand(site, 1), transpose_y=turned_b)
    if alpha != 1:
        product = mb.mul(x=product, y=like(product, alpha))
    if not added:
        if site.has(2):
            site.value(2)
        return mb.identity(x=product, name=site.name)
    c = operand(site, 2)
    return mb.add(x=product, y=c if beta == 1 else mb.mul(x=c, y=like(c, beta)), name=site.name)


def _bias(site: Site, beta: float, weight: Any, turned: bool) -> Any:
    """C as the bias of `mb.linear`, one number for each output; None where it is no such thing."""
    if not site.has(2) or not isinstance(weight, np.ndarray) or beta == 0:
        return None
    c, outputs = site.value(2), weight.shape[0 if turned else 1]
    if not isinstance(c, np.ndarray) or c.size not in (1, outputs) or (c.ndim == 2 and c.shape[0] != 1):
        return None
    return np.ascontiguousarray(np.broadcast_to((c * beta).astype(c.dtype).reshape(-1), (outputs,)))


@lowers("Det")
def det(site: Site) -> Any:
    """Of matrices of up to three rows, by cofactors."""
    dims = site.sizes(0)
    size = dims[-1]
    site.require(size == dims[-2] and size <= 3, f"the determinant of {size} rows cannot be said in MIL; up to 3 can")
    x = operand(site, 0)
    rank = len(dims)

    def entry(row: int, column: int) -> Any:
        places = [0] * (rank - 2) + [row, column]
        masks = [True] * (rank - 2) + [False] * 2
        ends = [0] * (rank - 2) + [row + 1, column + 1]
        return mb.slice_by_index(x=x, begin=places, end=ends, begin_mask=masks, end_mask=masks)

    def minor(rows: list[int], columns: list[int]) -> Any:
        if len(rows) == 1:
            return entry(rows[0], columns[0])
        total: Any = None
        for at, column in enumerate(columns):
            rest = [each for each in columns if each != column]
            term = mb.mul(x=entry(rows[0], column), y=minor(rows[1:], rest))
            total = term if total is None else (mb.sub if at % 2 else mb.add)(x=total, y=term)
        return total

    every = list(range(size))
    return reshaped(minor(every, every), list(dims[:-2]), site.name)
