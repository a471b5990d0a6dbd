"""Random nodes for `random_graphs` that move elements about, copy them, cast them, or compute with shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from tests.random_graphs import Scope, Shape, Value

FLOATS = ("float32", "float16", "float64")
ANY = (*FLOATS, "int64", "bool")


def element_type(dtype: str) -> int:
    """ONNX's number of a numpy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def copy(scope: Scope) -> None:
    value = scope.pick(dtypes=ANY)
    if value is None:
        return
    op = scope.random.choice(["Identity", "Identity", "Dropout", "Cast", "Tile", "Expand"])
    if op == "Cast":
        scope.add("Cast", [value], value, to=element_type(value.dtype))
    elif op == "Tile" and value.shape and value.dtype == "float32":
        scope.add("Tile", [value, scope.ints(*[1] * len(value.shape))], value)
    elif op == "Expand" and scope.opset >= 8:
        ones = [1 if isinstance(dim, str) or scope.chance(0.5) else dim for dim in value.shape]
        target = scope.ints(*ones) if scope.chance(0.5) else scope.add("Shape", [value], ("int64", (len(value.shape),)))
        scope.add("Expand", [value, target], value)
    elif op == "Dropout" and value.is_float:
        if scope.chance(0.3):
            scope.add_many("Dropout", [value], [value, ("bool" if scope.opset >= 10 else value.dtype, value.shape)])
        else:
            scope.add("Dropout", [value], value)
    elif op == "Identity":
        scope.add("Identity", [value], value)


def cast(scope: Scope) -> None:
    value = scope.pick(dtypes=ANY)
    if value:
        to = scope.random.choice([*FLOATS, "float32"] if value.is_float else ANY)
        scope.add("Cast", [value], (to, value.shape), to=element_type(to))


def reshape(scope: Scope) -> None:
    value = scope.pick(dtypes=ANY, ranks=range(1, 6))
    if value is None:
        return
    lead = sum(isinstance(dim, str) for dim in value.shape)
    rest = [dim for dim in value.shape[lead:] if isinstance(dim, int)]
    if lead + len(rest) != len(value.shape):
        return
    total = math.prod(rest)
    options = [rest, [total], [1, *rest], [d for d in rest if d != 1] or [1], [*rest[:-2], math.prod(rest[-2:])]]
    options += [[2, total // 2]] if total % 2 == 0 else []
    new = scope.random.choice(options)
    shape = (*value.shape[:lead], *new)
    if lead and scope.chance(0.3):  # computed from the shape, as exporters do
        sizes = scope.add("Shape", [value], ("int64", (len(value.shape),)))
        parts = []
        for axis in range(lead):
            size = scope.add("Gather", [sizes, scope.constant(axis, "int64")], ("int64", ()), axis=0)
            parts.append(_unsqueezed(scope, size, [0], ("int64", (1,))))
        target = scope.add("Concat", [*parts, scope.ints(*new)], ("int64", (len(shape),)), axis=0)
    else:
        written = [0 if isinstance(dim, str) else dim for dim in shape]
        if scope.chance(0.4):
            written[scope.random.randrange(len(written))] = -1
        target = scope.ints(*written)
    scope.add("Reshape", [value, target], (value.dtype, shape))


def _unsqueezed(scope: Scope, value: Value, axes: list[int], like: tuple[str, Shape]) -> Value:
    if scope.opset < 13:
        return scope.add("Unsqueeze", [value], like, axes=axes)
    return scope.add("Unsqueeze", [value, scope.ints(*axes)], like)


def axes(scope: Scope) -> None:
    """Transpose, Squeeze, Unsqueeze, Flatten."""
    value = scope.pick(dtypes=ANY, ranks=range(1, 5))
    if value is None:
        return
    rank, op = len(value.shape), scope.random.choice(["Transpose", "Squeeze", "Unsqueeze", "Flatten"])
    if op == "Transpose":
        perm = list(range(rank))
        if scope.chance(0.7):
            scope.random.shuffle(perm)
        scope.add(op, [value], (value.dtype, tuple(value.shape[i] for i in perm)), perm=perm)
    elif op == "Unsqueeze":
        axis = scope.random.randint(0, rank)
        _unsqueezed(scope, value, [axis], (value.dtype, (*value.shape[:axis], 1, *value.shape[axis:])))
    elif op == "Squeeze" and 1 in value.shape:
        axis = value.shape.index(1)
        like = (value.dtype, (*value.shape[:axis], *value.shape[axis + 1 :]))
        if scope.opset < 13:
            scope.add(op, [value], like, axes=[axis])
        else:
            scope.add(op, [value, scope.ints(axis)], like)
    elif op == "Flatten" and all(isinstance(dim, int) for dim in value.shape[1:]) and value.is_float:
        tail = math.prod(dim for dim in value.shape[1:] if isinstance(dim, int))
        scope.add(op, [value], (value.dtype, (value.shape[0], tail)))


def concatenation(scope: Scope) -> None:
    value = scope.pick(ranks=range(1, 5))
    if value is None:
        return
    axis = scope.random.randrange(len(value.shape))
    if isinstance(size := value.shape[axis], int):
        times = scope.random.choice([1, 2, 2, 3])
        shape = (*value.shape[:axis], size * times, *value.shape[axis + 1 :])
        if math.prod(dim for dim in shape if isinstance(dim, int)) < 4000:
            scope.add("Concat", [value] * times, (value.dtype, shape), axis=axis)


def sliced(
    scope: Scope, value: Value, axes: list[int], starts: list[int], ends: list[int], steps: Any, like: Any
) -> Value:
    if scope.opset < 10:
        return scope.add("Slice", [value], like, axes=axes, starts=starts, ends=ends)
    inputs = [value, scope.ints(*starts), scope.ints(*ends), scope.ints(*axes)]
    return scope.add("Slice", [*inputs, scope.ints(*steps) if steps else None], like)


def selection(scope: Scope) -> None:
    """Slice or Gather."""
    value = scope.pick(ranks=range(1, 5), dtypes=(*FLOATS, "int64"))
    if value is None:
        return
    axis = scope.random.randrange(len(value.shape))
    size = value.shape[axis]
    if scope.chance(0.3):
        like = (value.dtype, value.shape)
        sliced(scope, value, [axis], [0], [scope.random.choice([2**31 - 1, 2**63 - 1])], None, like)
    elif isinstance(size, int) and size and scope.chance(0.6):
        start = scope.random.randint(0, size - 1)
        end = scope.random.randint(start + 1, size)
        length, steps = end - start, None
        if scope.opset >= 10 and scope.chance(0.3):
            steps, length = [2], -(-length // 2)
        like = (value.dtype, (*value.shape[:axis], length, *value.shape[axis + 1 :]))
        sliced(scope, value, [axis], [start], [end - size if end < size else end], steps, like)
    else:
        index = [0] if scope.chance(0.5) else 0
        kept = (1,) if index else ()
        shape = (*value.shape[:axis], *kept, *value.shape[axis + 1 :])
        scope.add("Gather", [value, scope.constant(index, "int64")], (value.dtype, shape), axis=axis)


def shape_arithmetic(scope: Scope) -> None:
    value = scope.pick(ranks=range(1, 5), dtypes=ANY)
    if value is None:
        return
    sizes = scope.add("Shape", [value], ("int64", (len(value.shape),)))
    if scope.opset >= 9 and scope.chance(0.3):
        fill = helper.make_tensor("fill", TensorProto.FLOAT, [1], [0.5])
        scope.add("ConstantOfShape", [sizes], ("float32", value.shape), value=fill)
    elif scope.chance(0.3):
        scope.add("Cast", [sizes], ("float32", sizes.shape), to=TensorProto.FLOAT)
