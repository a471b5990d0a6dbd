"""Pad without axes, and the modes that repeat what is there as a Gather."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site

_MODES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def every_pad(site: Site) -> list[int]:
    """The padding before and after every axis."""
    pads, rank = site.ints(1, "pads"), site.rank()
    if pads is None:
        raise NoMatch("it has no pads")
    axes = site.ints(3, "axes") if site.given(3) else list(range(rank))
    assert axes is not None
    if len(pads) != 2 * len(axes):
        raise NoMatch(f"it has {len(pads)} pads for {len(axes)} axes")
    found = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        found[axis % rank], found[axis % rank + rank] = pads[index], pads[index + len(axes)]
    return found


def pad_every_axis(site: Site) -> Result:
    """The same padding, said for every axis."""
    value = site[2] if site.given(2) else None
    pads = np.array(every_pad(site), np.int64)
    return site.op.Pad(site[0], pads, value, **site.node.attrs) if value is not None else _plain(site, pads)


def _plain(site: Site, pads: np.ndarray) -> Node:
    return site.op.Pad(site[0], pads, **site.node.attrs)


def pad_by_gather(site: Site) -> Result:
    """Padding that repeats elements, by their indices along each axis."""
    mode, shape, pads = site.attr("mode"), site.shape(), every_pad(site)
    rank = len(shape)
    if mode not in _MODES:
        raise NoMatch(f"its mode is '{mode}'")
    if min(pads, default=0) < 0:
        raise NoMatch("some of its pads are negative")
    found: Tensor | Node = site[0]
    for axis, size in enumerate(shape):
        before, after = pads[axis], pads[axis + rank]
        if not before and not after:
            continue
        if not size or (mode == "reflect" and max(before, after) >= size):
            raise NoMatch(f"axis {axis} of '{site[0].name}' has {size} elements, and is padded by {max(before, after)}")
        indices = np.pad(np.arange(size), (before, after), mode=_MODES[mode])  # type: ignore[call-overload]
        found = site.op.Gather(found, indices.astype(np.int64), axis=axis)
    return found
