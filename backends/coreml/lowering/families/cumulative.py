"""Sums and products of all that comes before, along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.numbers import like, operand, wrapped
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site


@lowers("CumSum")
def cumsum(site: Site) -> Any:
    """Along a constant axis; the exclusive sum is that of what is shifted by a zero."""
    axis, reverse, exclusive = _asked(site)
    x = operand(site, 0)
    if exclusive:
        x = _shifted(site, x, axis, 1, 0, backward=reverse)
    return mb.cumsum(x=x, axis=axis, reverse=reverse, exclusive=False, name=site.name)


@lowers("CumProd")
def cumprod(site: Site) -> Any:
    """Products of one, two, four, eight ... numbers: MIL has no operation for it."""
    axis, reverse, exclusive = _asked(site)
    x = operand(site, 0)
    if exclusive:
        x = _shifted(site, x, axis, 1, 1, backward=reverse)
    reach, size = 1, site.size(0, axis)
    while reach < size:
        x = mb.mul(x=x, y=_shifted(site, x, axis, reach, 1, backward=reverse))
        reach *= 2
    return wrapped(site, mb.identity(x=x, name=site.name), site.dtype(0))


def _asked(site: Site) -> tuple[int, bool, bool]:
    """The axis, and the attributes."""
    axis, rank = int(site.constant(1, "axis").reshape(())), site.rank(0)
    site.require(-rank <= axis < rank, f"input axis={axis} is beyond rank {rank}")
    return axis % rank, bool(site.attr("reverse", 0)), bool(site.attr("exclusive", 0))


def _shifted(site: Site, x: Any, axis: int, by: int, filling: int, backward: bool) -> Any:
    """So many places along an axis, a number moving in."""
    sizes = list(site.sizes(0))
    by = min(by, sizes[axis])
    begin, end = [0] * len(sizes), list(sizes)
    begin[axis], end[axis] = (by, sizes[axis]) if backward else (0, sizes[axis] - by)
    new = mb.const(val=like(x, np.full([by if at == axis else size for at, size in enumerate(sizes)], filling)))
    if sizes[axis] == by:
        return new
    kept = mb.slice_by_index(x=x, begin=begin, end=end)
    return mb.concat(values=[kept, new] if backward else [new, kept], axis=axis)
