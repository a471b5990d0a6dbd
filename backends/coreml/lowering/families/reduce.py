"""Reductions, and the places of what is largest or smallest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.numbers import arrays, is_float, like, operand, truncated_quotient, wrapped
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_REDUCTIONS = {
    "ReduceL1": "reduce_l1_norm",
    "ReduceL2": "reduce_l2_norm",
    "ReduceLogSum": "reduce_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp",
    "ReduceMax": "reduce_max",
    "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceSum": "reduce_sum",
    "ReduceSumSquare": "reduce_sum_square",
}
_OF_FLOATS = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
_KNOWN: dict[str, Callable[..., Any]] = {
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
}


@lowers(*_REDUCTIONS)
def reduction(site: Site) -> Any:
    """Over axes given by attribute or input; over all of them where there are none, unless that means over none."""
    op, rank = site.node.op, site.rank(0)
    given = site.ints(1, "axes") or []
    axes = sorted({axis % rank for axis in given}) if rank else []
    keep = bool(site.attr("keepdims", 1))
    over_none = bool(site.attr("noop_with_empty_axes", 0))
    if not given and not over_none:
        axes = list(range(rank))
    known = arrays(site)
    if known is not None and op in _KNOWN:
        return np.asarray(_KNOWN[op](known[0], axis=tuple(axes), keepdims=keep)).astype(known[0].dtype)
    x = operand(site, 0)
    truth = x.dtype == types.bool
    if truth:
        x = mb.cast(x=x, dtype="int32")
    if op in _OF_FLOATS:
        site.require(is_float(x), f"input 0 is of {site.dtype(0)}, and {op} of integers cannot be said in MIL")
    found = _reduced(op, x, axes, keep) if axes else _of_nothing(op, x)
    if op == "ReduceLogSum":
        found = mb.log(x=found, epsilon=like(found, 0))
    if truth:
        return mb.cast(x=found, dtype="bool", name=site.name)
    return wrapped(site, found, site.dtype(0))


def _reduced(op: str, x: Any, axes: list[int], keep: bool) -> Any:
    if op == "ReduceMean" and not is_float(x):
        total = mb.reduce_sum(x=x, axes=axes, keep_dims=keep)
        count = np.prod([x.shape[axis] for axis in axes])
        return truncated_quotient(total, mb.const(val=np.int32(count)))
    return getattr(mb, _REDUCTIONS[op])(x=x, axes=axes, keep_dims=keep)


def _of_nothing(op: str, x: Any) -> Any:
    """What is left of a reduction over no axes: what is done to every number."""
    if op in ("ReduceL1", "ReduceL2"):
        return mb.abs(x=x)
    return mb.square(x=x) if op == "ReduceSumSquare" else mb.identity(x=x)


@lowers("ArgMax", "ArgMin")
def argument(site: Site) -> Any:
    """The first of equals, or the last: `mb.reduce_argmax` does not promise which of them it gives."""
    x, rank = operand(site, 0), site.rank(0)
    axis = site.axis(rank, 0)
    keep, last = bool(site.attr("keepdims", 1)), bool(site.attr("select_last_index", 0))
    reduce = mb.reduce_max if site.node.op == "ArgMax" else mb.reduce_min
    chosen = mb.equal(x=x, y=reduce(x=x, axes=[axis], keep_dims=True))
    index, _ = first_of(site, chosen, axis, last=last)
    return index if keep else mb.squeeze(x=index, axes=[axis], name=site.name)


def first_of(site: Site, chosen: Any, axis: int, *, last: bool = False) -> tuple[Any, Any]:
    """The first place (or the last) along an axis where something holds, of size 1 along it, and all the places.

    Raises:
        Refused: The size of the axis is not fixed.
    """
    size = chosen.shape[axis]
    site.require(isinstance(size, (int, np.integer)), f"the size of axis {axis} has to be fixed")
    shape = [1] * len(chosen.shape)
    shape[axis] = size
    counted = np.arange(size, dtype=np.int32).reshape(shape)
    chosen, places = mb.cast(x=chosen, dtype="int32"), mb.const(val=counted)
    if last:
        found = mb.reduce_max(x=mb.mul(x=chosen, y=counted + 1), axes=[axis], keep_dims=True)
        return mb.sub(x=found, y=np.int32(1)), places
    found = mb.reduce_min(x=mb.mul(x=chosen, y=counted - size), axes=[axis], keep_dims=True)
    return mb.add(x=found, y=np.int32(size)), places
