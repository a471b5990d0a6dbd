"""Random nodes for `random_graphs`: QuantizeLinear and DequantizeLinear, redundant and real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.random_shapes import reshaped, transposed

if TYPE_CHECKING:
    from tests.random_scopes import Scope
    from tests.random_values import Value


def quantization(scope: Scope) -> None:
    """Q and DQ, perhaps something between, perhaps Q and DQ again of the same scale or another."""
    value = scope.pick(ranks=range(1, 5), dtypes=("float32",))
    if value is None or scope.opset < 10:
        return
    rng = scope.random
    dtype = rng.choice(["uint8", "uint8", "int8"])
    axis = rng.randrange(len(value.shape))
    size = value.shape[axis]
    per_axis = size if isinstance(size, int) and size and scope.opset >= 13 and scope.chance(0.25) else None
    scales = np.array([rng.choice([0.1, 0.05, 0.02]) for _ in range(per_axis or 1)])
    scale, zero = _parameters(scope, scales if per_axis else scales[0], dtype)
    attrs: dict[str, Any] = {"axis": axis} if per_axis else {}
    integers = scope.add("QuantizeLinear", [value, scale, zero], (dtype, value.shape), **attrs)
    back = scope.add("DequantizeLinear", [integers, scale, zero], value, **attrs)
    if scope.chance(0.3):
        return
    back, axis = _between(scope, back, axis)
    attrs = {"axis": axis} if per_axis else {}
    if per_axis and (axis < 0 or back.shape[axis] != per_axis):
        return
    if not per_axis and scope.chance(0.25):
        scale, zero = _parameters(scope, 0.03, dtype)
    again = scope.add("QuantizeLinear", [back, scale, zero], (dtype, back.shape), **attrs)
    scope.add("DequantizeLinear", [again, scale, zero], back, **attrs)


def _parameters(scope: Scope, scale: Any, dtype: str) -> tuple[Value, Value]:
    scale = np.asarray(scale, np.float32)
    zero = np.full(scale.shape, scope.random.choice([0, 0, 3]) if dtype == "int8" else 128)
    return scope.constant(scale), scope.constant(zero, dtype)


def _between(scope: Scope, value: Value, axis: int) -> tuple[Value, int]:
    """What moves the data, or computes with them; and where the axis is then, -1 for nowhere."""
    form = scope.random.choice(["nothing", "transpose", "reshape", "relu", "pool", "neg"])
    rank = len(value.shape)
    if form == "transpose" and rank > 1:
        perm = list(range(rank))
        scope.random.shuffle(perm)
        return transposed(scope, value, perm), perm.index(axis)
    if form == "reshape":
        return reshaped(scope, value), -1
    if form == "relu":
        return scope.add("Relu", [value], value), axis
    if form == "neg":
        return scope.add("Neg", [value], value), axis
    sizes = value.shape[2:]
    if form == "pool" and rank == 4 and all(isinstance(dim, int) and dim > 1 for dim in sizes):
        left = tuple(dim - 1 for dim in sizes if isinstance(dim, int))
        pooled = scope.add("MaxPool", [value], (value.dtype, (*value.shape[:2], *left)), kernel_shape=[2, 2])
        return pooled, axis if axis < 2 else -1
    return value, axis
