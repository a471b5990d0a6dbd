"""TensorScatter: keys and values put into a cache, each sample's at its own place."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.families.shape import broadcast
from onnxopt.backends.coreml.lowering.numbers import operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site


@lowers("TensorScatter")
def tensor_scatter(site: Site) -> Any:
    """`mb.scatter_along_axis` at the write indices of each sample, and what follows them."""
    mode = site.only("mode", "linear", "circular")
    sizes, rank = site.sizes(1), site.rank(0)
    axis = site.axis(rank, -2)
    site.require(axis > 0, "attribute axis=0 is that of the batch")
    room, count = site.size(0, axis), sizes[axis]
    first = operand(site, 2) if site.has(2) else mb.const(val=np.zeros(sizes[0], np.int32))
    first = mb.reshape(x=first, shape=[sizes[0], *[1] * (rank - 1)])
    following = np.arange(count, dtype=np.int32).reshape([count if at == axis else 1 for at in range(rank)])
    places = mb.add(x=first, y=following)
    if mode == "circular":
        places = mb.mod(x=places, y=np.int32(room))
    return mb.scatter_along_axis(
        data=operand(site, 0),
        indices=broadcast(places, sizes),
        updates=operand(site, 1),
        axis=axis,
        mode="update",
        name=site.name,
    )
