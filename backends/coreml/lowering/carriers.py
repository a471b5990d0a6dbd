"""What travels as what: MIL moves truth values with few of its operations, and integers of 8 and 16 bits with fewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.values import as_mil


def carried(var: Any, operation: Callable[[Any], Any], name: str) -> Any:
    """What an operation that MIL has for numbers only makes of a Var: truth values travel as int32.

    Args:
        var: What is moved.
        operation: Makes one Var of another; called without a name.
        name: Of the result.
    """
    if var.dtype != types.bool:
        return operation(var)
    return mb.cast(x=operation(mb.cast(x=var, dtype="int32")), dtype="bool", name=name)


def is_fixed(shape: tuple[Any, ...]) -> bool:
    """Whether a shape has no flexible dimension."""
    return all(isinstance(dim, (int, np.integer)) for dim in shape)


def dimension(var: Any, axis: int) -> Any:
    """A dimension: a number where it is fixed, else a Var of shape [1], int32."""
    size = var.shape[axis]
    if isinstance(size, (int, np.integer)):
        return int(size)
    return mb.slice_by_index(x=mb.shape(x=var), begin=[axis], end=[axis + 1])


def integers(parts: list[Any]) -> Any:
    """A vector of numbers and of Vars of shape [1]: an array where all are numbers, else a Var, int32."""
    if all(isinstance(part, (int, np.integer)) for part in parts):
        return np.array(parts, np.int32)
    vars_ = [np.array([part], np.int32) if isinstance(part, (int, np.integer)) else part for part in parts]
    return mb.concat(values=[as_mil(part) for part in vars_], axis=0)


def reshaped(var: Any, shape: list[int], name: str | None = None) -> Any:
    """A Var in another shape, a scalar too."""
    named = {"name": name} if name else {}
    if list(var.shape) == list(shape):
        return mb.identity(x=var, **named) if name else var
    if not shape:
        return mb.squeeze(x=var, axes=list(range(len(var.shape))), **named)
    return mb.reshape(x=var, shape=shape, **named)
