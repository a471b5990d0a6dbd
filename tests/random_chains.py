"""Random nodes for `random_graphs` of one kind, in a row: what passes merge, move and cancel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.random_shapes import flattened, reshaped, sliced, squeezed, transposed, unsqueezed
from tests.random_values import ANY, FLOATS

if TYPE_CHECKING:
    from tests.random_scopes import Scope
    from tests.random_values import Dim, Shape, Value

ODD = (0.0, -0.0, 1.0, 1.0, -1.0, 2.0, 0.5, 3.0, 0.1, 1e-3, 100.0)
"""Factors and terms of arithmetic that is to stay finite."""
EXTREME = (float("inf"), float("-inf"), float("nan"), 1e-30, 1e30, 1e-42, 3e38, 1e-8, 65504.0, 1.0 + 2.0**-23)
HUGE = (2**62, -(2**63), 2**31 - 1, 2**31, 3)


def _has_room(value: Value, times: int = 1) -> bool:
    return math.prod(dim for dim in value.shape if isinstance(dim, int)) * times < 3000


def transposes(scope: Scope) -> None:
    """A Transpose, some nodes that it can go past, and mostly one that undoes it."""
    value = scope.pick(ranks=(2, 3, 4), dtypes=(*FLOATS, "float32", "int64"))
    if value is None:
        return
    perm = list(range(len(value.shape)))
    scope.random.shuffle(perm)
    moved = transposed(scope, value, perm)
    for _ in range(scope.random.randint(0, 3)):
        moved = _past(scope, moved)
    rank = len(moved.shape)
    back = sorted(range(rank), key=perm.__getitem__) if rank == len(perm) else list(range(rank))
    if rank != len(perm) or scope.chance(0.25):
        scope.random.shuffle(back)
    if rank > 1 and scope.chance(0.85):
        transposed(scope, moved, back)


def _past(scope: Scope, value: Value) -> Value:
    rank, rng = len(value.shape), scope.random
    axis = rng.randrange(rank) if rank else 0
    size: Dim = value.shape[axis] if rank else 0
    form = rng.choice(["unary", "scalar", "vector", "reduce", "join", "twice", "split", "pad", "softmax", "matmul"])
    if form == "vector" and isinstance(size, int) and size:
        ones = [1] * (rank - 1 - axis)
        vector = scope.weights(size, *ones, dtype=value.dtype, low=0.5, high=2)
        return scope.apply(rng.choice(["Add", "Mul"]), value, vector)
    if form == "reduce" and value.is_float and rank > 1 and size != 0 and value.dtype != "float16":
        return reduced(scope, rng.choice(["ReduceMean", "ReduceSum", "ReduceMax"]), value, axis, rng.randint(0, 1))
    if form == "join" and isinstance(size, int) and _has_room(value, 2):
        other = scope.apply("Mul", value, 2)
        shape: Shape = (*value.shape[:axis], 2 * size, *value.shape[axis + 1 :])
        return scope.add("Concat", [value, other], (value.dtype, shape), axis=axis)
    if form == "twice" and rank > 1:
        perm = list(range(rank))
        rng.shuffle(perm)
        return transposed(scope, value, perm)
    if form == "split" and isinstance(size, int) and size > 1:
        return split(scope, value, axis, [1, size - 1])[1]
    if form == "pad" and value.dtype in ("float32", "float64") and scope.opset >= 11 and isinstance(size, int) and rank:
        pads = [int(i == axis) for i in range(rank)] + [0] * rank
        shape = (*value.shape[:axis], size + 1, *value.shape[axis + 1 :])
        return scope.add("Pad", [value, scope.ints(*pads)], (value.dtype, shape))
    if form == "softmax" and value.dtype == "float32" and scope.opset >= 13 and rank:
        return scope.add("Softmax", [value], value, axis=axis)
    if form == "matmul" and value.dtype == "float32" and rank > 1 and isinstance(value.shape[-1], int):
        weight = scope.weights(value.shape[-1], 3)
        return scope.add("MatMul", [value, weight], (value.dtype, (*value.shape[:-1], 3)))
    if form == "unary" and value.is_float:
        return scope.add(rng.choice(["Relu", "Sigmoid", "Neg", "Tanh"]), [value], value)
    return scope.apply(rng.choice(["Add", "Mul"]), value, rng.choice([2, 3]))


def reduced(scope: Scope, op: str, value: Value, axis: int, keep: int) -> Value:
    like = (value.dtype, (*value.shape[:axis], *[1] * keep, *value.shape[axis + 1 :]))
    if scope.opset >= (13 if op == "ReduceSum" else 18):
        return scope.add(op, [value, scope.ints(axis)], like, keepdims=keep)
    return scope.add(op, [value], like, axes=[axis], keepdims=keep)


def reshapes(scope: Scope) -> None:
    """Reshape, Squeeze, Unsqueeze and Flatten in a row, perhaps with something elementwise between."""
    value = scope.pick(ranks=range(1, 5), dtypes=ANY)
    for _ in range(scope.random.randint(2, 4)):
        if value is None or not 0 < len(value.shape) < 6:
            return
        form = scope.random.choice(["reshape", "reshape", "unsqueeze", "squeeze", "flatten", "between"])
        if form == "unsqueeze":
            value = unsqueezed(scope, value, [scope.random.randint(0, len(value.shape))])
        elif form == "squeeze" and 1 in value.shape:
            value = squeezed(scope, value, value.shape.index(1))
        elif form == "flatten" and value.is_float and all(isinstance(dim, int) for dim in value.shape[1:]):
            value = flattened(scope, value)
        elif form == "between" and value.is_float:
            value = scope.add("Relu", [value], value) if scope.chance(0.5) else scope.apply("Mul", value, 2)
        else:
            value = reshaped(scope, value)


def split(scope: Scope, value: Value, axis: int, sizes: list[int]) -> list[Value]:
    likes = [(value.dtype, (*value.shape[:axis], size, *value.shape[axis + 1 :])) for size in sizes]
    if scope.opset < 13:
        return scope.add_many("Split", [value], likes, axis=axis, split=sizes)
    return scope.add_many("Split", [value, scope.ints(*sizes)], likes, axis=axis)


def joined(scope: Scope, values: list[Value], axis: int) -> Value:
    size = sum(dim for value in values if isinstance(dim := value.shape[axis], int))
    shape = (*values[0].shape[:axis], size, *values[0].shape[axis + 1 :])
    return scope.add("Concat", list(values), (values[0].dtype, shape), axis=axis)


def cut(scope: Scope, value: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
    like = (value.dtype, (*value.shape[:axis], -(-(end - start) // step), *value.shape[axis + 1 :]))
    return sliced(scope, value, [axis], [start], [end], [step] if step > 1 else None, like)


def cuts(scope: Scope) -> None:
    """Slices of Slices, pieces of all of a tensor joined again, Concats of Concats and taken apart."""
    value = scope.pick(ranks=range(1, 5), dtypes=("float32", "float32", "float64", "int64"))
    if value is None:
        return
    rng = scope.random
    options = [axis for axis, dim in enumerate(value.shape) if isinstance(dim, int) and dim > 1]
    if not options or not _has_room(value, 4):
        return
    axis = rng.choice(options)
    size = int(value.shape[axis])
    first = rng.randint(1, size - 1)
    form = rng.choice(["slices", "pieces", "concats", "apart"])
    if form == "slices":
        inner = cut(scope, value, axis, 0, first + 1) if scope.chance(0.5) else cut(scope, value, axis, first - 1, size)
        again = rng.choice(options)
        left = int(inner.shape[again])
        step = 2 if scope.opset >= 10 and scope.chance(0.3) else 1
        cut(scope, inner, again, min(1, left - 1), left, step)
    elif form == "pieces":
        bounds = [(0, first), (first, size)]
        pieces = [cut(scope, value, axis, *pair) for pair in bounds]
        pieces = pieces if scope.chance(0.5) else split(scope, value, axis, [first, size - first])
        if scope.chance(0.3):
            pieces = [scope.apply("Mul", piece, 2) for piece in pieces]
        if scope.chance(0.8):
            joined(scope, pieces if scope.chance(0.8) else pieces[::-1], axis)
    elif form == "concats":
        inner = joined(scope, [value, value], axis)
        joined(scope, [inner, value] if scope.chance(0.5) else [value, inner], axis)
    else:
        other = scope.apply("Add", value, 1)
        both = joined(scope, [value, other], axis)
        if scope.chance(0.5):
            cut(scope, both, axis, *rng.choice([(0, size), (size, 2 * size), (0, first)]))
        else:
            split(scope, both, axis, rng.choice([[size, size], [first, 2 * size - first]]))


def pads(scope: Scope) -> None:
    """One Pad or two, mostly in front of a convolution or a pool."""
    value = scope.pick(ranks=(2, 3, 4), dtypes=("float32", "float32", "float64"))
    if value is None or 0 in value.shape or not _has_room(value, 4):
        return
    mode = scope.random.choice(["constant", "constant", "constant", "edge", "reflect"])
    filled = scope.random.choice([0.0, 0.0, 0.0, 0.5, float("-inf")])
    if scope.chance(0.4):
        value = scope.add("Relu", [value], value)
    for _ in range(scope.random.choice([1, 2])):
        rank = len(value.shape)
        more = [0 if i % rank < 2 or scope.chance(0.4) else 1 for i in range(2 * rank)]
        if not all(isinstance(dim, int) and dim > 1 for dim in value.shape[2:]):
            return
        dims = [dim if isinstance(dim, str) else dim + more[i] + more[i + rank] for i, dim in enumerate(value.shape)]
        like = (value.dtype, tuple(dims))
        if scope.opset < 11:
            value = scope.add("Pad", [value], like, pads=more, value=filled, mode=mode)
        else:
            fill = scope.constant(filled, value.dtype) if filled or scope.chance(0.5) else None
            value = scope.add("Pad", [value, scope.ints(*more), fill], like, mode=mode)
        if scope.chance(0.1):
            filled = 1.0
    if scope.chance(0.8):
        _window_over(scope, value)


def _window_over(scope: Scope, value: Value) -> None:
    channels, sizes = value.shape[1], [dim for dim in value.shape[2:] if isinstance(dim, int)]
    width = scope.random.choice([2, 3, 3])
    if not sizes or value.dtype != "float32" or not isinstance(channels, int) or min(sizes) < width:
        return
    kernel, left = [width] * len(sizes), [size - width + 1 for size in sizes]
    op = scope.random.choice(["Conv", "Conv", "AveragePool", "MaxPool"])
    if op == "Conv":
        groups = scope.random.choice([1, channels])
        weight = scope.weights(channels, channels // groups, *kernel, low=-0.3, high=0.3)
        bias = scope.weights(channels) if scope.chance(0.5) else None
        like = (value.dtype, (*value.shape[:2], *left))
        scope.add(op, [value, weight, bias], like, kernel_shape=kernel, group=groups)
    else:
        attrs = {"count_include_pad": scope.random.randint(0, 1)} if op == "AveragePool" and scope.chance(0.5) else {}
        scope.add(op, [value], (value.dtype, (*value.shape[:2], *left)), kernel_shape=kernel, **attrs)


def arithmetic(scope: Scope) -> None:
    """Add, Sub, Mul, Div, Neg and Pow with constants in a row; integers too, and now and then extreme numbers."""
    value = scope.pick(dtypes=(*FLOATS, "float32", "float32", "int64", "int32"))
    if value is None:
        return
    rng, extreme = scope.random, scope.chance(0.08)
    for _ in range(rng.randint(2, 5)):
        op = rng.choice(["Add", "Mul", "Sub", "Div", "Neg", "Pow"])
        number = rng.choice(EXTREME if extreme and scope.chance(0.4) else ODD)
        if not value.is_float:
            number = rng.choice(HUGE) if extreme and value.dtype == "int64" else rng.choice([0, 1, 1, 2, -1, 3])
            op = op if op != "Pow" and (op != "Div" or number) else "Add"
        if op == "Neg":
            value = scope.add("Neg", [value], value)
        elif op == "Pow":
            if value.dtype == "float32":
                value = scope.apply("Pow", value, rng.choice([1.0, 2.0, 1.0, 0.0, 3.0]))
        elif scope.chance(0.4) and value.is_float and value.shape and isinstance(value.shape[-1], int):
            value = scope.apply(op, value, scope.weights(value.shape[-1], dtype=value.dtype, low=0.5, high=2))
        elif op == "Sub" and scope.chance(0.3):
            value = scope.apply("Sub", scope.scalar(number, value.dtype), value)
        elif op != "Div" or number or scope.chance(0.2):
            value = scope.apply(op, value, number)
