"""Random arithmetic and logic for `random_graphs`, and how often each kind of step is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tests.random_bodies import branch, call, loop, scan
from tests.random_chains import arithmetic, cuts, pads, reduced, reshapes, transposes
from tests.random_layers import (
    convolution,
    gemm,
    matmul,
    normalization,
    padding,
    per_channel,
    pool,
    separable,
    splitting,
    stack,
    transposed_convolution,
)
from tests.random_quantization import quantization
from tests.random_shapes import axes, cast, concatenation, copy, reshape, selection, shape_arithmetic
from tests.random_spelled import activation, norm
from tests.random_values import FLOATS, broadcast

if TYPE_CHECKING:
    from tests.random_scopes import Scope


def binary(scope: Scope) -> None:
    value = scope.pick(dtypes=(*FLOATS, "int64"))
    if value is None:
        return
    other = scope.pick(dtypes=(value.dtype,))
    if other is None or scope.chance(0.5):
        number = scope.random.choice([0.0, -0.0, 1.0, 1.0, 0.5, 2.0, -1.0])
        shape = scope.random.choice([(), (1,), (1,) * len(value.shape), (1,) * (len(value.shape) + 1)])
        other = scope.constant(np.full(shape, number), value.dtype)
    joined = broadcast(value.shape, other.shape)
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
    op = scope.random.choice(["ReduceSum", "ReduceMean", "ReduceMax"])
    axis = scope.random.randrange(len(value.shape))
    if value.shape[axis] != 0:
        reduced(scope, op, value, axis, scope.random.randint(0, 1))


def repetition(scope: Scope) -> None:
    """A node once more."""
    found = {value.name: value for value in scope.made}
    known = [node for node in scope.nodes[-6:] if len(node.output) == 1 and node.output[0] in found]
    if known:
        node = scope.random.choice(known)
        again = scope.add(node.op_type, [], found[node.output[0]])
        scope.nodes[-1].CopyFrom(node)
        scope.nodes[-1].output[0], scope.nodes[-1].name = again.name, ""


WEIGHTS = {
    "unary": 5, "binary": 8, "copy": 8, "cast": 5, "reshape": 4, "axes": 5, "concatenation": 3, "selection": 4,
    "logic": 3, "reduction": 3, "repetition": 4, "arithmetic": 8, "transposes": 9, "reshapes": 6, "cuts": 8, "pads": 6,
    "shape_arithmetic": 7, "matmul": 5, "gemm": 5, "normalization": 5, "per_channel": 5, "padding": 3, "pool": 2,
    "convolution": 8, "transposed_convolution": 2, "splitting": 5, "separable": 4, "stack": 8, "activation": 9,
    "norm": 11, "quantization": 6, "branch": 4, "loop": 2, "scan": 1, "call": 3,
}  # fmt: skip
"""How often each kind of step is taken; the simple ones first, to which hypothesis shrinks the others."""

STEPS: dict[str, Callable[[Scope], None]] = {
    step.__name__: step
    for step in (
        unary, binary, copy, cast, reshape, axes, concatenation, selection, logic, reduction, repetition, arithmetic,
        transposes, reshapes, cuts, pads, shape_arithmetic, matmul, gemm, normalization, per_channel, padding, pool,
        convolution, transposed_convolution, splitting, separable, stack, activation, norm, quantization, branch,
        loop, scan, call,
    )
}  # fmt: skip
"""What each kind of step appends to a scope."""
