"""Gathering, scattering, sorting: coremltools' definitions scatter_gather.py and tensor_operation.py.

An index that is out of bounds gives what nobody has documented, and from iOS 17 on a negative one does too: that is an
error here, which coremltools' inference does not make of it.
"""

from __future__ import annotations

import numpy as np

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates

_COMBINED = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}


def _located(call: Call, indices: Array, size: int) -> Array:
    """Indices along an axis, counted from the front."""
    indices = indices.astype(np.int64)
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise call.refuse(f"its indices go from {indices.min()} to {indices.max()}, and there are {size} elements")
    if call.since_ios17 and indices.size and indices.min() < 0:
        raise call.refuse(f"it has the index {indices.min()}, and negative ones are out of bounds from iOS 17 on")
    return np.where(indices < 0, indices + size, indices)


@evaluates("gather")
def _gather(call: Call) -> Array:
    x, batch = call["x"], int(call.scalar("batch_dims", 0))
    axis = int(call.scalar("axis", 0)) % x.ndim
    indices = _located(call, call["indices"], x.shape[axis])
    if not batch:
        return np.take(x, indices, axis)
    found = [np.take(x[place], indices[place], axis - batch) for place in np.ndindex(*x.shape[:batch])]
    return np.stack(found).reshape(*x.shape[:batch], *found[0].shape)


@evaluates("gather_along_axis")
def _gather_along_axis(call: Call) -> Array:
    x = call["x"]
    axis = int(call.scalar("axis", 0)) % x.ndim
    indices = _located(call, call["indices"], x.shape[axis])
    widest = [max(pair) for pair in zip(x.shape, indices.shape, strict=True)]
    widest[axis] = x.shape[axis]
    return np.take_along_axis(np.broadcast_to(x, widest), indices, axis)


@evaluates("gather_nd")
def _gather_nd(call: Call) -> Array:
    x, indices, batch = call["x"], call["indices"], int(call.scalar("batch_dims", 0))
    if not batch:
        return x[_places(call, indices, x.shape)]
    found = [x[place][_places(call, indices[place], x.shape[batch:])] for place in np.ndindex(*x.shape[:batch])]
    return np.stack(found).reshape(*x.shape[:batch], *np.shape(found[0]))


def _places(call: Call, indices: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    return tuple(_located(call, indices[..., axis], shape[axis]) for axis in range(indices.shape[-1]))


@evaluates("scatter_nd")
def _scatter_nd(call: Call) -> Array:
    data = call["data"]
    return _scattered(call, data, _places(call, call["indices"], data.shape), "add")


@evaluates("scatter")
def _scatter(call: Call) -> Array:
    data = call["data"]
    axis = int(call.scalar("axis", 0)) % data.ndim
    places = (slice(None),) * axis + (_located(call, call["indices"], data.shape[axis]),)
    return _scattered(call, data, places, "update")


@evaluates("scatter_along_axis")
def _scatter_along_axis(call: Call) -> Array:
    """Coremltools' inference knows only the mode `update`."""
    data, indices = call["data"], call["indices"]
    axis = int(call.scalar("axis", 0)) % data.ndim
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = _located(call, indices, data.shape[axis])
    return _scattered(call, data, tuple(np.broadcast_arrays(*places)), "add")


def _scattered(call: Call, data: Array, places: tuple[Array | slice, ...], default: str) -> Array:
    mode = call.scalar("mode", default)
    wide = np.float32 if data.dtype == np.float16 else data.dtype
    found, updates = data.astype(wide), call["updates"].astype(wide)
    if mode == "update":
        if _any_twice(places):
            raise call.refuse("two updates go to one place, and the documentation does not say which one stays")
        found[places] = updates
    elif mode in _COMBINED and not (mode == "div" and data.dtype.kind != "f"):
        getattr(_COMBINED[mode], "at")(found, places, updates)  # noqa: B009  numpy's types do not know of it
    else:
        raise call.refuse(f"mode is {mode!r} on {data.dtype}")
    return found


def _any_twice(places: tuple[Array | slice, ...]) -> bool:
    given = [np.asarray(place).reshape(-1) for place in places if not isinstance(place, slice)]
    rows = np.stack(given, 1)
    return len(np.unique(rows, axis=0)) < len(rows)


@evaluates("one_hot")
def _one_hot(call: Call) -> Array:
    """What becomes of places beyond the vector is not documented."""
    indices, size = call["indices"], int(call.scalar("one_hot_vector_size"))
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise call.refuse(f"its indices go from {indices.min()} to {indices.max()}, and the vectors have {size} places")
    axis = int(call.scalar("axis", -1)) % (indices.ndim + 1)
    on = call["on_value"] if call.has("on_value") else np.asarray(1, np.int32)
    off = call["off_value"] if call.has("off_value") else np.zeros((), on.dtype)
    shape = [1] * (indices.ndim + 1)
    shape[axis] = size
    return np.where(np.expand_dims(indices, axis) == np.arange(size).reshape(shape), on, off)


@evaluates("topk")
def _topk(call: Call) -> list[Array] | Array:
    """Equal elements come in their order. Coremltools' inference negates, which wraps round for integers."""
    x = call["x"]
    axis = int(call.scalar("axis", -1)) % x.ndim
    order = _sorted(x, axis, bool(call.scalar("ascending", False)))
    count = int(call.scalar("k", 1))
    indices = np.take(order, np.arange(x.shape[axis] if count < 0 else count), axis)
    values = np.take_along_axis(x, indices, axis)
    return [values, indices] if call.scalar("return_indices", True) else values


@evaluates("argsort")
def _argsort(call: Call) -> Array:
    """As `topk`."""
    x = call["x"]
    return _sorted(x, int(call.scalar("axis", -1)) % x.ndim, bool(call.scalar("ascending", False)))


def _sorted(x: Array, axis: int, ascending: bool) -> Array:
    if ascending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - backwards, axis)
