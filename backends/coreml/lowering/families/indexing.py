"""Numbers taken from, and put at, places that indices say."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.carriers import carried, dimension, integers, is_fixed, reshaped
from onnxopt.backends.coreml.lowering.numbers import arrays, like, operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.values import as_mil

_MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def gathered(var: Any, indices: Any, axis: int, name: str | None) -> Any:
    """`mb.gather` of numbers and of truth values."""
    named = {"name": name} if name else {}
    if var.dtype == types.bool:
        taken = mb.gather(x=mb.cast(x=var, dtype="int32"), indices=indices, axis=axis)
        return mb.cast(x=taken, dtype="bool", **named)
    return mb.gather(x=var, indices=indices, axis=axis, **named)


def counted(site: Site, index: int, size: Any) -> Any:
    """Indices counted from the front: from iOS 17 on, Core ML takes no negative ones.

    Args:
        size: What is added to negative ones: a number, an array that broadcasts, or a Var.

    Raises:
        Refused: Known ones are out of range.
    """
    indices = site.value(index)
    if isinstance(indices, np.ndarray):
        indices = indices.astype(np.int32)
        if isinstance(size, (int, np.ndarray)):
            inside = ((indices >= -np.asarray(size)) & (indices < size)).all()
            site.require(bool(inside), f"indices '{site.node.inputs[index].name}' are out of range of {size}")
            return np.where(indices < 0, indices + size, indices).astype(np.int32)
        if (indices >= 0).all():
            return indices
    var = operand(site, index) if not isinstance(indices, np.ndarray) else as_mil(indices)
    size = size if not isinstance(size, (int, np.ndarray)) else np.asarray(size, np.int32)[()]
    below = mb.cast(x=mb.less(x=var, y=np.int32(0)), dtype="int32")
    return mb.add(x=var, y=mb.mul(x=below, y=size))


@lowers("Gather")
def gather(site: Site) -> Any:
    """Along one axis, by indices of any rank."""
    axis = site.axis(site.rank(0), 0)
    known = arrays(site)
    if known is not None:
        return np.take(known[0], known[1], axis)
    x = operand(site, 0)
    size = dimension(x, axis)
    indices = counted(site, 1, size)
    if not isinstance(size, int) and not isinstance(indices, np.ndarray) and not len(site.shape(1)):
        indices = mb.squeeze(x=indices, axes=[0])
    return gathered(x, indices[()] if isinstance(indices, np.ndarray) else indices, axis, site.name)


@lowers("GatherElements")
def gather_elements(site: Site) -> Any:
    """Of the axes beside `axis`, only as much as there are indices for."""
    axis, rank = site.axis(site.rank(0), 0), site.rank(0)
    known, dims, wanted = arrays(site), site.shape(0), site.shape(1)
    if known is not None:
        part = tuple(slice(None if at == axis else dim) for at, dim in enumerate(wanted))
        return np.take_along_axis(known[0][part], counted(site, 1, int(dims[axis])), axis)
    x = operand(site, 0)
    indices = counted(site, 1, dimension(x, axis))
    if any(at != axis and wanted[at] != dims[at] for at in range(rank)):
        ends = integers([1 if at == axis else dimension(as_mil(indices), at) for at in range(rank)])
        masks = [at == axis for at in range(rank)]
        x = mb.slice_by_index(x=x, begin=[0] * rank, end=ends, end_mask=masks)
    if x.dtype != types.bool:
        return mb.gather_along_axis(x=x, indices=indices, axis=axis, name=site.name)
    return carried(x, lambda var: mb.gather_along_axis(x=var, indices=indices, axis=axis), site.name)


@lowers("GatherND")
def gather_nd(site: Site) -> Any:
    """The last axis of the indices goes over axes of the data."""
    batch, depth = int(site.attr("batch_dims", 0)), site.shape(1)[-1]
    site.require(is_fixed((depth,)), f"the last dimension of '{site.node.inputs[1].name}' is flexible")
    x = operand(site, 0)
    sizes = integers([dimension(x, at) for at in range(batch, batch + int(depth))])
    indices = counted(site, 1, sizes)
    if batch:
        site.require_target(_ios(16), "attribute batch_dims")
    scalar = not batch and len(indices.shape) == 1
    if scalar:
        indices = mb.expand_dims(x=as_mil(indices), axes=[0])
    batched = {"batch_dims": batch} if batch else {}

    def taken(var: Any) -> Any:
        found = mb.gather_nd(x=var, indices=indices, **batched)
        return reshaped(found, list(found.shape)[1:]) if scalar else found

    return mb.identity(x=taken(x), name=site.name) if x.dtype != types.bool else carried(x, taken, site.name)


def _ios(version: int) -> Any:
    import coremltools

    return getattr(coremltools.target, f"iOS{version}")


@lowers("ScatterElements", "Scatter")
def scatter_elements(site: Site) -> Any:
    """`mb.scatter_along_axis` wants indices for the whole of the other axes; fewer go through `mb.scatter_nd`."""
    axis, dims = site.axis(site.rank(0), 0), site.sizes(0)
    mode = _MODES[site.only("reduction", "none", "add", "mul", "max", "min")]
    indices = counted(site, 1, dims[axis])
    known = arrays(site)
    if known is not None:
        return _put(known[0], _grid(indices, axis), known[2], mode)
    x, updates, shape = operand(site, 0), operand(site, 2), site.sizes(1)
    whole = all(at == axis or dim == dims[at] for at, dim in enumerate(shape))
    if whole:

        def put(data: Any, new: Any) -> Any:
            return mb.scatter_along_axis(data=data, indices=indices, updates=new, axis=axis, mode=mode)
    else:
        places = _places(indices, shape, axis)

        def put(data: Any, new: Any) -> Any:
            return mb.scatter_nd(data=data, indices=places, updates=new, mode=mode)

    return _scattered(site, put, x, updates)


@lowers("ScatterND")
def scatter_nd(site: Site) -> Any:
    """Slices put at places that the last axis of the indices says."""
    dims, depth = site.sizes(0), int(site.sizes(1)[-1])
    mode = _MODES[site.only("reduction", "none", "add", "mul", "max", "min")]
    indices = counted(site, 1, np.array(dims[:depth], np.int32))
    known = arrays(site)
    if known is not None:
        return _put(known[0], tuple(np.moveaxis(indices, -1, 0)), known[2], mode)

    def put(data: Any, new: Any) -> Any:
        return mb.scatter_nd(data=data, indices=indices, updates=new, mode=mode)

    return _scattered(site, put, operand(site, 0), operand(site, 2))


def _scattered(site: Site, put: Any, x: Any, updates: Any) -> Any:
    known = x.val is not None and updates.val is not None
    # coremltools computes `scatter_along_axis` of constants as if its mode were always `update`
    site.require(not known, "it reads constants alone; run fold-constants before")
    if x.dtype != types.bool:
        return mb.identity(x=put(x, updates), name=site.name)
    new = mb.cast(x=updates, dtype="int32")
    return carried(x, lambda data: put(data, new), site.name)


def _put(data: Array, places: tuple[Array, ...], updates: Array, mode: str) -> Array:
    found = np.array(data)
    if mode == "update":
        found[places] = updates
        return found
    reduction: Any = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[mode]
    reduction.at(found, places, updates)
    return found


def _grid(indices: Array, axis: int) -> tuple[Array, ...]:
    grid: list[Array] = list(np.indices(indices.shape))
    grid[axis] = indices
    return tuple(grid)


def _places(indices: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Indices along one axis as indices along all of them: [*shape, rank]."""
    grid = np.indices(shape).astype(np.int32)
    if isinstance(indices, np.ndarray):
        grid[axis] = indices
        return np.ascontiguousarray(np.moveaxis(grid, 0, -1))
    parts = [indices if at == axis else as_mil(np.ascontiguousarray(each)) for at, each in enumerate(grid)]
    return mb.stack(values=parts, axis=len(shape))


@lowers("OneHot")
def one_hot(site: Site) -> Any:
    """Compared with a range: `mb.one_hot` does not say what becomes of indices out of range; here they are off."""
    depth = int(site.constant(1, "depth").reshape(-1)[0])
    rank = len(site.shape(0))
    axis = int(site.attr("axis", -1))
    axis += rank + 1 if axis < 0 else 0
    indices = operand(site, 0)
    whole = indices if indices.dtype == types.int32 else mb.cast(x=indices, dtype="int32")
    below = mb.cast(x=mb.less(x=whole, y=np.int32(0)), dtype="int32")
    placed = mb.add(x=whole, y=mb.mul(x=below, y=np.int32(depth)))
    numbers = np.arange(depth, dtype=np.int32).reshape([depth if at == axis else 1 for at in range(rank + 1)])
    hot = mb.equal(x=mb.expand_dims(x=placed, axes=[axis]), y=numbers)
    values = site.value(2)
    if isinstance(values, np.ndarray):
        off, on = (like(operand(site, 2), each) for each in values.reshape(-1))
        if off.dtype != np.bool_ and off == 0 and on == 1:
            return mb.cast(x=hot, dtype=_NAMES[off.dtype.name], name=site.name)
        shape = [depth if dim is None else dim for dim in _inserted(site.sizes(0), axis)]
        return mb.select(cond=hot, a=np.full(shape, on), b=np.full(shape, off), name=site.name)
    site.require(is_fixed(site.shape(0)), "its values are computed and its indices of a flexible shape")
    shape = [depth if dim is None else dim for dim in _inserted(site.sizes(0), axis)]
    off, on = (mb.slice_by_index(x=operand(site, 2), begin=[at], end=[at + 1]) for at in range(2))
    full = [mb.tile(x=reshaped(each, [1] * (rank + 1)), reps=shape) for each in (on, off)]
    return mb.select(cond=hot, a=full[0], b=full[1], name=site.name)


_NAMES = {"float32": "fp32", "float16": "fp16", "int32": "int32"}


def _inserted(shape: tuple[int, ...], axis: int) -> list[int | None]:
    return [*shape[:axis], None, *shape[axis:]]


@lowers("NonZero")
def non_zero(site: Site) -> Any:
    """As many columns as there are: a shape that is known only when it runs."""
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return np.array(np.nonzero(np.atleast_1d(value)), np.int32)
    x = operand(site, 0)
    site.require(len(x.shape) > 0, "its input is a scalar")
    return mb.transpose(x=mb.non_zero(x=x), perm=[1, 0], name=site.name)


@lowers("Unique")
def unique(site: Site) -> Any:
    """Core ML has nothing like it."""
    site.refuse("Core ML finds no unique values: there is no such operation")
