"""Functions of single numbers, arithmetic and comparisons: integers as ONNX computes them, infinities and NaN too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.lowered import evaluated, model_of
from tests.backends.coreml.single_nodes import Array, case, floats, reasons, require_equal, together

X, Y = floats(3, 4), floats(4, seed=1)
POSITIVE, WITHIN = np.abs(X) + 0.1, np.tanh(X)
I8 = np.array([[-128, -7, -1, 0], [7, 100, 127, -50]], np.int8)
BY = np.array([3, -3, 100, -128], np.int8)
U8 = np.array([[0, 7, 200, 255]], np.uint8)
I32 = np.array([[-7, 7, -8, 8]], np.int32)
DIVISOR = np.array([3, 3, -3, -3], np.int32)
INFINITE = np.array([np.inf, -np.inf, 1, np.nan], np.float32)


def scalar(value: float, dtype: Any = np.float32) -> Array:
    return np.array(value, dtype)


CASES = {
    **{
        op.lower(): case(op, X)
        for op in ("Abs", "Atan", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Neg", "Reciprocal", "Sigmoid", "Sign",
                   "Sin", "Sinh", "Tan", "Tanh")
    },
    **{op.lower(): case(op, POSITIVE) for op in ("Sqrt", "Log")},
    **{op.lower(): case(op, WITHIN) for op in ("Acos", "Asin", "Atanh")},
    "log_of_zero": case("Log", np.zeros(3, np.float32)),
    "round_halves_to_even": case("Round", np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49], np.float32)),
    "asinh": case("Asinh", np.array([-3e4, -2, -0.5, -1e-4, 0, 1e-3, 1, 5e8, np.inf], np.float32)),
    "acosh": case("Acosh", np.array([1, 1.0001, 2, 3e4, 5e8, np.inf, 0.5], np.float32)),
    **{f"{op.lower()}_of_integers": case(op, I8) for op in ("Abs", "Neg", "Sign")},
    **{
        f"{op.lower()}_{kind}": case(op, a, b, constant=constant)
        for op in ("Add", "Sub", "Mul", "Div")
        for kind, a, b, constant in (("float", X, Y, [1]), ("wraps", I8, BY, []), ("computed", X, Y, []))
    },
    "add_bytes": case("Add", U8, np.array([100], np.uint8)),
    "sub_bytes": case("Sub", U8, np.array([100], np.uint8)),
    "div_truncates": case("Div", I32, DIVISOR),
    "mod_by_divisor": case("Mod", I32, DIVISOR),
    "mod_by_dividend": case("Mod", I32, DIVISOR, fmod=1),
    "mod_of_floats": case("Mod", X * 5, Y, fmod=1),
    "pow": case("Pow", POSITIVE, Y),
    "pow_square": case("Pow", X, scalar(2), constant=[1]),
    "pow_integer_exponent": case("Pow", X, np.array([0, 1, 2, 3], np.int64)),
    "pow_of_integers": case("Pow", I32, np.array([0, 1, 2, 3], np.int32)),
    **{op.lower(): case(op, X, Y, floats(1, seed=2)) for op in ("Max", "Min", "Sum", "Mean")},
    "max_of_integers": case("Max", I32, DIVISOR),
    "clip_attributes": case("Clip", X, opset=6, min=-0.5, max=0.5),
    "clip_constant": case("Clip", X, scalar(-0.5), scalar(0.5), constant=[1, 2]),
    "clip_below": case("Clip", X, scalar(-0.5), constant=[1]),
    "clip_crossed": case("Clip", X, scalar(0.5), scalar(-0.5), constant=[1, 2]),
    "clip_integers": case("Clip", I8, None, scalar(5, np.int8), constant=[2]),
    "cumsum": case("CumSum", X, scalar(1, np.int64), constant=[1]),
    "cumsum_exclusive_reverse": case("CumSum", X, scalar(-2, np.int64), constant=[1], exclusive=1, reverse=1),
    "shift_left": case("BitShift", U8, np.array([3], np.uint8), constant=[1], direction="LEFT"),
    "shift_right": case("BitShift", U8, np.array([3], np.uint8), constant=[1], direction="RIGHT"),
    **{
        f"{op.lower()}_{kind}": case(op, a, b, opset=19)
        for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
        for kind, a, b in (("floats", np.round(X), np.round(Y)), ("integers", I32, np.abs(DIVISOR)))
    },
    "equal_truth": case("Equal", X > 0, Y > 0),
    **{op.lower(): case(op, X > 0, Y > 0) for op in ("And", "Or", "Xor")},
    "not": case("Not", X > 0),
    "where": case("Where", X > 0, X, Y),
    "where_condition_is_larger": case("Where", X > 0, Y[:1], scalar(7).reshape(1, 1)),
    "is_nan": case("IsNaN", INFINITE),
    "is_infinite": case("IsInf", INFINITE),
    "is_negative_infinite": case("IsInf", INFINITE, detect_positive=0),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("elementwise"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name], tolerance=1e-4)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (case("Pow", I32, np.array([0.5], np.float32), constant=[1]), "makes fractions of integers"),
        (case("Pow", I32, Y), "is no integer and the base is"),
        (case("Add", X, Y, opset=6, broadcast=1), "run convert-opset"),
        (case("BitShift", U8.astype(np.uint32), np.array([3], np.uint32), constant=[1], direction="LEFT"), "overflows"),
        (case("CumSum", X, np.array(1)), "axis"),
        (case("Bernoulli", X), "it draws random numbers"),
    ],
)
def test_what_cannot_be_said_is_refused(refused: Any, reason: str) -> None:
    assert reason in reasons(refused)


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.bool_])
def test_where_of_a_flexible_condition_and_scalars(kind: Any) -> None:
    """A mask of attention: nothing but the condition has the shape that comes out."""
    node = helper.make_node("Where", ["c", "a", "b"], ["y"])
    constants = {"a": np.array([3], kind), "b": np.array(0, kind)}
    model = None
    for size in (2, 5):
        feeds = {"c": np.random.default_rng(size).random((1, size, size)) > 0.5}
        model = model or model_of([node], feeds, {"y": kind}, 17, {"c": [1, "n", "n"]}, **constants)
        (found,) = evaluated(model, feeds)
        np.testing.assert_array_equal(found, np.where(feeds["c"], *constants.values()))
