"""Shapes: asked for, and changed without moving a number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.carriers import dimension, integers, is_fixed, reshaped
from onnxopt.backends.coreml.lowering.families.indexing import gathered
from onnxopt.backends.coreml.lowering.numbers import operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.values import as_mil


@lowers("Shape")
def shape(site: Site) -> Any:
    """Known where the dimensions asked for are fixed."""
    rank = site.rank(0)
    start, end, _ = slice(site.attr("start", 0), site.attr("end")).indices(rank)
    asked = site.shape(0)[start : max(end, start)]
    if is_fixed(asked):
        return np.array(asked, np.int32)
    whole = mb.shape(x=operand(site, 0))
    return mb.slice_by_index(x=whole, begin=[start], end=[end], name=site.name)


@lowers("Size")
def size(site: Site) -> Any:
    """The number of elements, a scalar."""
    dims = site.shape(0)
    if is_fixed(dims):
        return np.array(math.prod(dims), np.int32)
    return mb.reduce_prod(x=mb.shape(x=operand(site, 0)), axes=[0], keep_dims=False, name=site.name)


@lowers("Reshape")
def reshape(site: Site) -> Any:
    """0 takes the dimension at that place (unless `allowzero`), -1 what is left."""
    x, wanted = site.value(0), site.value(1)
    zeros = not site.attr("allowzero", 0)
    if not isinstance(wanted, np.ndarray):
        return _reshape_as_computed(site, wanted, zeros)
    dims = [int(dim) for dim in wanted.reshape(-1)]
    taken = [site.shape(0)[at] if dim == 0 and zeros else dim for at, dim in enumerate(dims)]
    if is_fixed(site.shape(0)) and -1 in taken:
        rest = math.prod(dim for dim in taken if dim != -1)
        taken[taken.index(-1)] = math.prod(site.sizes(0)) // rest if rest else 0
    if isinstance(x, np.ndarray):
        return x.reshape(taken)
    if is_fixed(tuple(taken)):
        return reshaped(operand(site, 0), [int(dim) for dim in taken], site.name)
    flexible = [at for at, dim in enumerate(taken) if not isinstance(dim, (int, np.integer))]
    if len(flexible) == 1 and -1 not in taken:
        taken[flexible[0]] = -1
        return mb.reshape(x=operand(site, 0), shape=[int(dim) for dim in taken], name=site.name)
    var = operand(site, 0)
    parts = [dimension(var, at) if at in flexible else int(dim) for at, dim in enumerate(taken)]
    return mb.reshape(x=var, shape=integers(parts), name=site.name)


def _reshape_as_computed(site: Site, wanted: Any, zeros: bool) -> Any:
    """A shape that is computed of other shapes: MIL counts zeros from the other end, so there may be none."""
    name, known = site.node.inputs[1].name, wanted.sym_val
    site.require(known is not None, f"its shape '{name}' is computed of data")
    var, kept = operand(site, 0), np.zeros(wanted.shape[0], np.int32)
    for at, dim in enumerate(known):
        if isinstance(dim, (int, np.integer)) and dim == 0:
            fixed = zeros and isinstance(var.shape[at], (int, np.integer))
            site.require(bool(fixed), f"its shape '{name}' has a zero for a flexible dimension")
            kept[at] = var.shape[at]
    return mb.reshape(x=var, shape=mb.add(x=wanted, y=kept) if kept.any() else wanted, name=site.name)


@lowers("Flatten")
def flatten(site: Site) -> Any:
    """Two dimensions: those before `axis`, and those from it on."""
    rank, dims = site.rank(0), site.shape(0)
    axis = int(site.attr("axis", 1))
    site.require(-rank <= axis <= rank, f"attribute axis={axis} is beyond rank {rank}")
    axis += rank if axis < 0 else 0
    halves = [dims[:axis], dims[axis:]]
    value = site.value(0)
    fixed = [is_fixed(half) for half in halves]
    if isinstance(value, np.ndarray):
        return value.reshape(math.prod(dims[:axis]), -1)
    var = operand(site, 0)
    if any(fixed):
        wanted = [math.prod(half) if known else -1 for half, known in zip(halves, fixed, strict=True)]
        return mb.reshape(x=var, shape=wanted, name=site.name)
    whole = mb.shape(x=var)
    first = mb.reduce_prod(x=mb.slice_by_index(x=whole, begin=[0], end=[axis]), axes=[0], keep_dims=True)
    return mb.reshape(x=var, shape=integers([first, -1]), name=site.name)


@lowers("Squeeze")
def squeeze(site: Site) -> Any:
    """Without axes, every dimension that is 1."""
    dims, rank = site.shape(0), site.rank(0)
    axes = site.ints(1, "axes")
    if axes is None:
        axes = [axis for axis, dim in enumerate(site.sizes(0)) if dim == 1]
    axes = [axis % max(rank, 1) for axis in axes]
    for axis in axes:
        name = site.node.inputs[0].name
        fits = dims[axis] == 1 or not is_fixed((dims[axis],))
        site.require(fits, f"dimension {axis} of '{name}' is {dims[axis]}, not 1: axes={axes}")
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return value.squeeze(tuple(axes))
    if not axes:
        return value
    var, axes = operand(site, 0), sorted(axes)
    if is_fixed(tuple(dims[axis] for axis in axes)):
        return mb.squeeze(x=var, axes=axes, name=site.name)
    for axis in reversed(axes):  # `mb.squeeze` leaves a flexible axis, though it has to be of 1 by the operator
        var = gathered(var, np.int32(0), axis, site.name if axis == axes[0] else None)
    return var


@lowers("Unsqueeze")
def unsqueeze(site: Site) -> Any:
    """Axes count in the result."""
    axes = site.ints(1, "axes")
    site.require(axes is not None, "axes are missing")
    assert axes is not None
    axes = sorted(axis % (site.rank(0) + len(axes)) for axis in axes)
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return np.expand_dims(value, tuple(axes))
    return mb.expand_dims(x=operand(site, 0), axes=axes, name=site.name) if axes else value


@lowers("Expand")
def expand(site: Site) -> Any:
    """Both shapes broadcast: a dimension of 1 is repeated."""
    value, wanted = site.value(0), site.value(1)
    if isinstance(wanted, np.ndarray) and is_fixed(site.shape(0)):
        full = np.broadcast_shapes(site.sizes(0), tuple(wanted.reshape(-1).tolist()))
        if isinstance(value, np.ndarray):
            return np.ascontiguousarray(np.broadcast_to(value, full))
        return broadcast(operand(site, 0), full, site.name)
    var = operand(site, 0)
    ones = np.array(0 if var.dtype == types.bool else 1).astype(types.nptype_from_builtin(var.dtype))[()]
    filled = mb.fill(shape=as_mil(wanted), value=ones)
    if var.dtype == types.bool:
        return mb.logical_or(x=var, y=filled, name=site.name)
    return mb.mul(x=var, y=filled, name=site.name)


def broadcast(var: Any, full: tuple[int, ...], name: str | None = None) -> Any:
    """A Var of a fixed shape repeated to the shape that it broadcasts to."""
    dims = [1] * (len(full) - len(var.shape)) + [int(dim) for dim in var.shape]
    reps = [whole if dim == 1 else 1 for dim, whole in zip(dims, full, strict=True)]
    if all(rep == 1 for rep in reps):
        return reshaped(var, list(full), name)
    return mb.tile(x=reshaped(var, dims), reps=reps, **({"name": name} if name else {}))


@lowers("Transpose")
def transpose(site: Site) -> Any:
    """Without `perm`, the axes in reverse."""
    rank = site.rank(0)
    perm = [int(axis) for axis in site.attr("perm", list(range(rank))[::-1])]
    value = site.value(0)
    if isinstance(value, np.ndarray):
        return transposed(value, perm)
    if perm == list(range(rank)):
        return value
    return mb.transpose(x=operand(site, 0), perm=perm, name=site.name)


def transposed(array: Array, perm: list[int]) -> Array:
    """A known tensor with its axes in another order."""
    return np.ascontiguousarray(array.transpose(perm)) if array.ndim else array
