"""Random arithmetic, logic, subgraphs and calls for `random_graphs`, and how often each kind of step is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.random_layers import (
    convolution,
    gemm,
    matmul,
    normalization,
    padding,
    per_channel,
    pool,
    splitting,
    stack,
    transposed_convolution,
)
from tests.random_shapes import ANY, FLOATS, axes, cast, concatenation, copy, reshape, selection, shape_arithmetic

if TYPE_CHECKING:
    from tests.random_graphs import Dim, Scope, Shape, Value


def _broadcast(one: Shape, other: Shape) -> Shape | None:
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    dims: list[Dim] = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            return None
        dims.append(b if a == 1 else a)
    return tuple(dims)


def binary(scope: Scope) -> None:
    value = scope.pick(dtypes=(*FLOATS, "int64"))
    if value is None:
        return
    other = scope.pick(dtypes=(value.dtype,))
    if other is None or scope.chance(0.5):
        number = scope.random.choice([0.0, -0.0, 1.0, 1.0, 0.5, 2.0, -1.0])
        shape = scope.random.choice([(), (1,), (1,) * len(value.shape), (1,) * (len(value.shape) + 1)])
        other = scope.constant(np.full(shape, number), value.dtype)
    joined = _broadcast(value.shape, other.shape)
    ops = ["Add", "Sub", "Mul"] + (["Div"] if value.is_float and other in scope.constants else [])
    ops += ["Max", "Min"] if scope.opset >= 8 and value.dtype in ("float32", "float64") else []
    op = scope.random.choice(ops)
    if joined is not None and not (op == "Mul" and other not in scope.constants and scope.chance(0.7)):
        if op == "Div" or scope.chance(0.6):
            scope.add(op, [value, other], (value.dtype, joined))
        else:
            scope.add(op, [other, value], (value.dtype, joined))


def unary(scope: Scope) -> None:
    value = scope.pick()
    if value is None:
        return
    op = scope.random.choice(["Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Clip", "Softmax", "LeakyRelu"])
    if op == "Clip" and scope.opset >= 11:
        low = scope.constant(-0.75, value.dtype) if scope.chance(0.5) else None
        high = scope.constant(0.75, value.dtype) if scope.chance(0.5) else None
        scope.add("Clip", [value, low, high], value)
    elif op == "Softmax":
        if value.shape:
            scope.add(op, [value], value, axis=len(value.shape) - 1)
    elif op != "LeakyRelu" or value.dtype == "float32":
        scope.add(op, [value], value, **({"min": -0.5} if op == "Clip" else {}))


def logic(scope: Scope) -> None:
    value = scope.pick(dtypes=("float32", "bool") if scope.opset >= 9 else ("float32",))
    if value is None:
        return
    if value.dtype == "float32":
        tested = scope.add("Greater", [value, scope.constant(0.37)], ("bool", value.shape))
        if scope.opset >= 9 and scope.chance(0.5):
            scope.add("Where", [tested, value, scope.constant(0.5)], value)
    elif scope.chance(0.3):
        scope.add("Not", [value], value)
    else:
        other = scope.constant(scope.chance(0.5), "bool")
        scope.add(scope.random.choice(["And", "Or", "Xor"]), [value, other], value)


def reduction(scope: Scope) -> None:
    value = scope.pick(ranks=range(1, 5), dtypes=("float32", "float64"))
    if value is None:
        return
    axis, keep = scope.random.randrange(len(value.shape)), scope.random.randint(0, 1)
    like = (value.dtype, (*value.shape[:axis], *[1] * keep, *value.shape[axis + 1 :]))
    op = scope.random.choice(["ReduceSum", "ReduceMean", "ReduceMax"])
    if scope.opset >= (13 if op == "ReduceSum" else 18):
        scope.add(op, [value, scope.ints(axis)], like, keepdims=keep)
    else:
        scope.add(op, [value], like, axes=[axis], keepdims=keep)


def repetition(scope: Scope) -> None:
    """A node once more."""
    found = {value.name: value for value in scope.made}
    known = [node for node in scope.nodes[-6:] if len(node.output) == 1 and node.output[0] in found]
    if known:
        node = scope.random.choice(known)
        again = scope.add(node.op_type, [], found[node.output[0]])
        scope.nodes[-1].CopyFrom(node)
        scope.nodes[-1].output[0], scope.nodes[-1].name = again.name, ""


def branch(scope: Scope) -> None:
    wanted = scope.pick(dtypes=ANY)
    if scope.depth >= 2 or wanted is None or scope.in_function:
        return
    condition = scope.pick(ranks=(0,), dtypes=("bool",))
    if condition is None:
        condition = scope.constant(scope.chance(0.5), "bool")
        if scope.chance(0.7) and (tested := scope.pick(ranks=range(1, 5), dtypes=("float32",))):
            largest = scope.add("ReduceMax", [tested], ("float32", ()), keepdims=0)
            condition = scope.add("Greater", [largest, scope.constant(0.5)], ("bool", ()))
    bodies = []
    for _ in range(2):
        body = scope.child()
        body.grow(scope.random.randint(0, 4))
        bodies.append(body.graph([body.shaped_like(wanted)]))
    scope.add("If", [condition], wanted, then_branch=bodies[0], else_branch=bodies[1])


def loop(scope: Scope) -> None:
    carried = scope.pick(dtypes=ANY)
    if scope.depth >= 2 or carried is None or scope.in_function:
        return
    from tests.random_graphs import Value

    prefix = f"l{scope.depth}_"
    again = Value(f"{prefix}again", "bool", ())
    inside = Value(f"{prefix}carried", carried.dtype, carried.shape)
    body = scope.child([Value(f"{prefix}step", "int64", ()), again, inside])
    body.grow(scope.random.randint(0, 4))
    goes_on = body.add("Identity", [again], again)
    result = body.shaped_like(inside)
    scanned = scope.random.choice([v for v in body.made if v != result] or [goes_on])
    trips = scope.random.choice([0, 1, 2, 3])
    condition = scope.constant(True, "bool") if scope.chance(0.5) else None
    likes: list[Value | tuple[str, Shape]] = [carried, (scanned.dtype, (trips, *scanned.shape))]
    graph = body.graph([goes_on, result, scanned])
    scope.add_many("Loop", [scope.constant(trips, "int64"), condition, carried], likes, body=graph)


def call(scope: Scope) -> None:
    found = scope.function()
    if found is None:
        return
    proto, takes, given = found
    chosen = []
    for wanted in takes:
        fitting = [v for v in scope.visible() if (v.dtype, v.shape) == (wanted.dtype, wanted.shape)]
        if not fitting:
            return
        chosen.append(scope.random.choice(fitting))
    slope = scope.random.choice([0.1, 0.5, 1.0])
    scope.add(proto.name, chosen, given, domain="local", slope=slope)


WEIGHTS = {
    stack: 8,
    convolution: 10, transposed_convolution: 2, pool: 2, normalization: 6, per_channel: 6, padding: 4, gemm: 4,
    matmul: 4, binary: 8, unary: 5, copy: 8, cast: 3, reshape: 5, axes: 5, concatenation: 3, splitting: 4,
    selection: 4, shape_arithmetic: 3, logic: 3, reduction: 3, repetition: 4, branch: 2, loop: 2, call: 3,
}  # fmt: skip
