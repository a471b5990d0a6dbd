"""Random nodes for `random_graphs` that move elements about, copy them, cast them, or compute with shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx import TensorProto, helper

from tests.random_values import ANY, FLOATS, INTS, element_type

if TYPE_CHECKING:
    from tests.random_scopes import Scope
    from tests.random_values import Dim, Shape, Value


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
        target = scope.ints(*ones) if scope.chance(0.5) else shape_of(scope, value)
        scope.add("Expand", [value, target], value)
    elif op == "Dropout" and value.is_float:
        if scope.chance(0.3):
            scope.add_many("Dropout", [value], [value, ("bool" if scope.opset >= 10 else value.dtype, value.shape)])
        else:
            scope.add("Dropout", [value], value)
    elif op == "Identity":
        scope.add("Identity", [value], value)


WIDER = {
    "float32": ("float64",), "float16": ("float32", "float64"), "float64": ("float64",), "int32": ("int64", "float64"),
    "int64": ("int64",), "bool": ("int32", "int64", "float32"),
}  # fmt: skip
"""Types that have room for every number of another."""


def cast(scope: Scope) -> None:
    """One Cast to three, from floating-point numbers to integers only where they are small."""
    value = scope.pick(dtypes=ANY)
    if value is None:
        return
    if scope.chance(0.5):  # there and back, or on
        first = value.dtype
        value = to_type(scope, value, scope.random.choice(WIDER[value.dtype]))
        on = [first, first, *(FLOATS if value.is_float else ANY)]
        to_type(scope, value, scope.random.choice(on if value.is_float == (first in FLOATS) else ["float32"]))
        return
    for _ in range(scope.random.choice([1, 1, 2, 2, 3])):
        wide = [*FLOATS, "float32"] if value.is_float else [*ANY, "int8", "uint8"]
        if value.dtype == "float32" and scope.chance(0.2):
            value, wide = scope.add("Tanh", [value], value), [*INTS, "bool"]
        value = to_type(scope, value, scope.random.choice(wide))
    if value.dtype in ("int8", "uint8"):
        to_type(scope, value, "float32")


def to_type(scope: Scope, value: Value, dtype: str) -> Value:
    return scope.add("Cast", [value], (dtype, value.shape), to=element_type(dtype))


def shape_of(scope: Scope, value: Value) -> Value:
    return scope.add("Shape", [value], ("int64", (len(value.shape),)))


def reshape(scope: Scope) -> None:
    value = scope.pick(dtypes=ANY, ranks=range(1, 6))
    if value is not None:
        reshaped(scope, value)


def reshaped(scope: Scope, value: Value) -> Value:
    """A Reshape, with 0, -1 or a computed target; of leading symbolic dimensions, all stay or all become one."""
    lead = sum(isinstance(dim, str) for dim in value.shape)
    rest = [dim for dim in value.shape[lead:] if isinstance(dim, int)]
    if lead + len(rest) != len(value.shape):
        return value
    total = math.prod(rest)
    options = [rest, [total], [1, *rest], [d for d in rest if d != 1] or [1], [*rest[:-2], math.prod(rest[-2:])]]
    options += [[2, total // 2]] if total % 2 == 0 and total else []
    options = [new for new in options if all(dim or rest[i : i + 1] == [0] for i, dim in enumerate(new))]  # 0 copies
    new = scope.random.choice(options)
    first: Shape = value.shape[:lead]
    if lead > 1 and total and scope.chance(0.3):
        shape: Shape = (scope.model.symbol(), *new)
        return scope.add("Reshape", [value, scope.ints(-1, *new)], (value.dtype, shape))
    if lead and scope.chance(0.3):  # computed from the shape, as exporters do
        sizes = shape_of(scope, value)
        parts = []
        for axis in range(lead):
            size = scope.add("Gather", [sizes, scope.constant(axis, "int64")], ("int64", ()), axis=0)
            parts.append(unsqueezed(scope, size, [0]))
        shape = (*first, *new)
        last = scope.ints(*([-1, *new[1:]] if total and new and scope.chance(0.3) else new))
        target = scope.add("Concat", [*parts, last], ("int64", (len(shape),)), axis=0)
    else:
        shape = (*first, *new)
        written = [0 if isinstance(dim, str) else dim for dim in shape]
        kept = [i for i, (old, now) in enumerate(zip(value.shape, shape, strict=False)) if old == now]
        written = [0 if i in kept and scope.chance(0.2) else dim for i, dim in enumerate(written)]
        if total and scope.chance(0.4):
            written[scope.random.randrange(len(written))] = -1
        target = scope.ints(*written)
    return scope.add("Reshape", [value, target], (value.dtype, shape))


def unsqueezed(scope: Scope, value: Value, axes: list[int]) -> Value:
    shape = list(value.shape)
    for axis in axes:
        shape.insert(axis, 1)
    like = (value.dtype, tuple(shape))
    if scope.opset < 13:
        return scope.add("Unsqueeze", [value], like, axes=axes)
    return scope.add("Unsqueeze", [value, scope.ints(*axes)], like)


def squeezed(scope: Scope, value: Value, axis: int) -> Value:
    like = (value.dtype, (*value.shape[:axis], *value.shape[axis + 1 :]))
    if scope.opset < 13:
        return scope.add("Squeeze", [value], like, axes=[axis])
    return scope.add("Squeeze", [value, scope.ints(axis)], like)


def flattened(scope: Scope, value: Value) -> Value:
    tail = math.prod(dim for dim in value.shape[1:] if isinstance(dim, int))
    attrs = {"axis": 1} if scope.chance(0.5) else {}
    return scope.add("Flatten", [value], (value.dtype, (value.shape[0], tail)), **attrs)


def transposed(scope: Scope, value: Value, perm: list[int]) -> Value:
    shape = tuple(value.shape[i] for i in perm)
    attrs: dict[str, Any] = {"perm": perm}
    if perm == list(range(len(perm)))[::-1] and scope.chance(0.5):
        attrs = {}
    return scope.add("Transpose", [value], (value.dtype, shape), **attrs)


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
        transposed(scope, value, perm)
    elif op == "Unsqueeze":
        unsqueezed(scope, value, [scope.random.randint(0, rank)])
    elif op == "Squeeze" and 1 in value.shape:
        squeezed(scope, value, value.shape.index(1))
    elif op == "Flatten" and all(isinstance(dim, int) for dim in value.shape[1:]) and value.is_float:
        flattened(scope, value)


def concatenation(scope: Scope) -> None:
    value = scope.pick(ranks=range(1, 5))
    if value is None:
        return
    axis, times = scope.random.randrange(len(value.shape)), scope.random.choice([1, 2, 2, 3])
    size: Dim = value.shape[axis]
    size = size * times if isinstance(size, int) else size if times == 1 else scope.model.symbol()
    shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
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
    elif isinstance(size, str) and scope.chance(0.5):
        shape = (*value.shape[:axis], scope.model.symbol(), *value.shape[axis + 1 :])
        start, end = scope.random.choice([(0, 2), (1, 2**31 - 1), (-1, 2**31 - 1), (0, -1)])
        sliced(scope, value, [axis], [start], [end], None, (value.dtype, shape))
    elif size:
        index = [0] if scope.chance(0.5) else 0
        kept = (1,) if index else ()
        shape = (*value.shape[:axis], *kept, *value.shape[axis + 1 :])
        scope.add("Gather", [value, scope.constant(index, "int64")], (value.dtype, shape), axis=axis)


def shape_arithmetic(scope: Scope) -> None:
    """What exporters make of x.shape: sizes picked, computed with, put together, and read by what needs a shape."""
    value = scope.pick(ranks=range(1, 5), dtypes=ANY)
    if value is None:
        return
    sizes = shape_of(scope, value)
    rank, form = len(value.shape), scope.random.choice(["fill", "cast", "expand", "where", "range", "slice", "merge"])
    if form == "fill" and scope.opset >= 9:
        fill = helper.make_tensor("fill", TensorProto.FLOAT, [1], [scope.random.choice([0.0, 0.5])])
        made = scope.add("ConstantOfShape", [sizes], ("float32", value.shape), value=fill)
        if value.dtype == "float32" and scope.chance(0.5):
            scope.apply("Add", value, made)
    elif form == "cast":
        scope.add("Cast", [sizes], ("float32", sizes.shape), to=TensorProto.FLOAT)
    elif form == "expand" and scope.opset >= 8:
        dims = [dim if scope.chance(0.5) else 1 for dim in value.shape]
        fixed = [dim for dim in dims if isinstance(dim, int)]
        if len(fixed) == rank:
            small = scope.weights(*fixed)
            wide = scope.add("Expand", [small, sizes], ("float32", value.shape))
            if value.dtype == "float32" and scope.chance(0.7):
                scope.apply(scope.random.choice(["Add", "Mul"]), value, wide)
    elif form == "where" and scope.opset >= 9:  # torch's expand: -1 keeps a dimension
        wanted = scope.ints(*[-1 if isinstance(dim, str) or scope.chance(0.3) else dim for dim in value.shape])
        tested = scope.add("Equal", [wanted, scope.ints(-1)], ("bool", (rank,)))
        ones = scope.add("ConstantOfShape", [shape_of(scope, sizes)], ("int64", (rank,)), value=_one())
        target = scope.add("Where", [tested, ones, wanted], ("int64", (rank,)))
        scope.add("Expand", [value, target], value)
    elif form in ("range", "slice", "merge"):
        _from_sizes(scope, value, sizes, form)


def _one() -> TensorProto:
    return helper.make_tensor("one", TensorProto.INT64, [1], [1])


def _from_sizes(scope: Scope, value: Value, sizes: Value, form: str) -> None:
    axis = scope.random.randrange(len(value.shape))
    size = scope.add("Gather", [sizes, scope.constant(axis, "int64")], ("int64", ()), axis=0)
    dim = value.shape[axis]
    if form == "range" and scope.opset >= 11:
        bounds = [scope.constant(0, "int64"), size, scope.constant(1, "int64")]
        scope.add("Range", bounds, ("int64", (dim,)))
    elif form == "slice" and scope.opset >= 10 and value.dtype in FLOATS:
        half = scope.apply(scope.random.choice(["Add", "Div", "Sub", "Mul"]), size, scope.constant(2, "int64"))
        end = unsqueezed(scope, half, [0])
        shape = (*value.shape[:axis], scope.model.symbol(), *value.shape[axis + 1 :])
        scope.add("Slice", [value, scope.ints(0), end, scope.ints(axis)], (value.dtype, shape))
    elif form == "merge" and len(value.shape) > 1:  # x.view(b * s, -1)
        other = scope.add("Gather", [sizes, scope.constant(0, "int64")], ("int64", ()), axis=0)
        second = scope.add("Gather", [sizes, scope.constant(1, "int64")], ("int64", ()), axis=0)
        both = scope.apply("Mul", other, second)
        if 0 in value.shape or (len(value.shape) > 2 and not all(isinstance(d, int) for d in value.shape[2:])):
            return
        rest = math.prod(d for d in value.shape[2:] if isinstance(d, int))
        target = scope.add("Concat", [unsqueezed(scope, both, [0]), scope.ints(rest)], ("int64", (2,)), axis=0)
        a, b = value.shape[:2]
        merged: Dim = a * b if isinstance(a, int) and isinstance(b, int) else scope.model.symbol()
        scope.add("Reshape", [value, target], (value.dtype, (merged, rest)))
