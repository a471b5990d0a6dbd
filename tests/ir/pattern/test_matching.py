"""What a pattern fits: one small graph each, and `Softsign` is what a match becomes."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnxopt import ir
from onnxopt.ir.pattern import any_, anything, constant, either, op, optional, scalar, through_cast
from tests.ir.pattern.gates import Recorder, apply, ops, rule
from tests.passes.checks import parse

X = any_("x")


def graph(body: str, weights: str = "", *, opset: int = 17, inputs: str = "float[2,3] x") -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>
        g ({inputs}) => (float[2,3] y) <{weights}> {{ {body} }}
    """)


def fits(pattern, found: ir.Graph) -> bool:  # type: ignore[no-untyped-def]
    return bool(tried(pattern, found)[0].allowed)


def tried(pattern, found: ir.Graph):  # type: ignore[no-untyped-def]
    return apply(found, rule(pattern, lambda match, make: make.Softsign(match[X])))


def why(pattern, found: ir.Graph) -> str:  # type: ignore[no-untyped-def]
    before = ir.to_text(found)
    gate, _ = tried(pattern, found)
    assert not gate.allowed and ir.to_text(found) == before
    return "; ".join(gate.refused)


GELU = op.Mul(op.Mul(X, op.Add(op.Erf(op.Div(X, math.sqrt(2))), 1)), 0.5)


@pytest.mark.parametrize(
    "body",
    [
        "d = Div (x, r) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
        "d = Div (x, r) e = Erf (d) a = Add (one, e) m = Mul (a, x) y = Mul (half, m)",
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", ml_dtypes.bfloat16])
def test_a_pattern_reads_as_the_graph_and_commutes(body: str, dtype: Any) -> None:
    found = graph(body, "double r = {1.4142135623730951}, double one = {1}, double half = {0.5}")
    for constant_ in found.constants:
        constant_.values = constant_.read().astype(dtype)
    assert fits(GELU, found) and ops(found) == ["Softsign"]
    assert found.outputs[0].name == "y"


def test_subtraction_does_not_commute() -> None:
    assert fits(op.Sub(X, op.Exp(X)), graph("e = Exp (x) y = Sub (x, e)"))
    assert not fits(op.Sub(X, op.Exp(X)), graph("e = Exp (x) y = Sub (e, x)"))


@pytest.mark.parametrize(
    ("value", "number", "fit"),
    [
        (np.float32(1 / 3), 1 / 3, True),
        (np.float32(0.3333335), 1 / 3, False),
        (np.float16(1 / 3), 1 / 3, True),
        (np.float16(0.334), 1 / 3, False),
        (ml_dtypes.bfloat16(1 / 3), 1 / 3, True),
        (np.float64(np.float32(1 / 3)), 1 / 3, False),
        (np.float32(-0.0), 0, True),
        (np.float32(1e-30), 0, False),
        (np.full((1, 1), 3, np.float32), 3, True),
        (np.full(2, 3, np.float32), 3, False),
        (np.int64(3), 3, True),
        (np.float32("nan"), 3, False),
        (np.float32("inf"), 3, False),
    ],
)
def test_numbers_are_compared_up_to_the_rounding_of_their_own_type(value: Any, number: float, fit: bool) -> None:
    found = graph("y = Pow (x, k)", "float k = {1}")
    found.constants[0].values = np.array(value)
    assert fits(op.Pow(X, number), found) is fit


def test_numbers_of_constant_nodes() -> None:
    assert fits(op.Mul(X, 2), graph("k = Constant <value = float {2}> () y = Mul (x, k)"))
    assert fits(op.Mul(X, 2), graph("k = Constant <value_float = 2.0> () y = Mul (x, k)"))


def test_a_constant_that_the_caller_may_override_is_none() -> None:
    found = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, float k) => (float[2,3] y) <float k = {2}> { e = Exp (x) y = Mul (e, k) }
    """)
    assert "'k' may be overridden by the caller" in why(op.Mul(op.Exp(X), 2), found)


def test_constants_by_predicate_and_any() -> None:
    rising = constant(lambda array: array.shape == (3,) and bool(np.all(np.diff(array) > 0)))
    assert fits(op.Mul(X, rising), graph("y = Mul (x, k)", "float[3] k = {1, 2, 3}"))
    assert not fits(op.Mul(X, rising), graph("y = Mul (x, k)", "float[3] k = {3, 2, 1}"))
    assert fits(op.Mul(X, constant()), graph("y = Mul (k, x)", "float[3] k = {3, 2, 1}"))
    assert not fits(op.Sub(X, constant()), graph("a = Exp (x) y = Sub (x, a)"))


@pytest.mark.parametrize("number", [constant(2), scalar()])
def test_a_number_with_axes_must_not_add_an_axis(number: Any) -> None:
    weights = "float[1,1,1] k = {2}"
    found = parse(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[1,2,3] y) <{weights}>
        {{ e = Exp (x) y = Mul (e, k) }}
    """)
    assert "may add an axis: the rank of 'e' is not certain" in why(op.Mul(op.Exp(X), number), found)
    assert fits(op.Mul(op.Exp(X), number), graph("e = Exp (x) y = Mul (e, k)", "float[1,1] k = {2}"))


def test_the_same_variable_is_the_same_tensor() -> None:
    pattern = op.Mul(X, op.Sigmoid(X))
    assert fits(pattern, graph("s = Sigmoid (x) y = Mul (s, x)"))
    reason = why(pattern, graph("s = Sigmoid (x) y = Mul (z, s)", inputs="float[2,3] x, float[2,3] z"))
    assert "it reads 'x' where 'z' is expected" in reason


def test_equal_constants_count_as_the_same_tensor() -> None:
    k = constant()
    pattern = op.Add(op.Mul(X, k), k)
    assert fits(pattern, graph("m = Mul (x, a) y = Add (m, b)", "float[1] a = {2}, float[1] b = {2}"))
    assert not fits(pattern, graph("m = Mul (x, a) y = Add (m, b)", "float[1] a = {2}, float b = {2}"))
    assert not fits(pattern, graph("m = Mul (x, a) y = Add (m, b)", "float a = {0.0}, float b = {-0.0}"))


def test_alternatives() -> None:
    root2 = either(op.Div(X, math.sqrt(2)), op.Mul(X, math.sqrt(0.5)))
    assert fits(op.Erf(root2), graph("m = Mul (k, x) y = Erf (m)", "float k = {0.70710678}"))
    assert fits(op.Erf(root2), graph("m = Div (x, k) y = Erf (m)", "float k = {1.4142135}"))
    assert not fits(op.Erf(root2), graph("m = Mul (k, x) y = Erf (m)", "float k = {0.7}"))


def test_an_alternative_that_fits_only_with_what_comes_later_is_found() -> None:
    z = any_()
    pattern = op.Sub(either(op.Neg(z), op.Neg(op.Neg(z))), op.Exp(op.Neg(X)))
    assert fits(pattern, graph("e = Neg (x) f = Exp (e) n = Neg (x) m = Neg (n) y = Sub (m, f)"))


def test_optional_inputs() -> None:
    low, high = constant(), constant()
    pattern = op.Clip(X, optional(low), optional(high))
    assert fits(pattern, graph("y = Clip (x)"))
    assert fits(pattern, graph("y = Clip (x, k)", "float k = {1}"))
    assert fits(pattern, graph("y = Clip (x, , k)", "float k = {1}"))
    assert not fits(pattern, graph("k = ReduceMax <keepdims = 0> (x) y = Clip (x, k)"))
    assert not fits(op.Clip(X, low), graph("y = Clip (x)"))
    assert not fits(op.Clip(X), graph("y = Clip (x, k)", "float k = {1}"))
    assert fits(op.Clip(X, ...), graph("y = Clip (x, k)", "float k = {1}"))


def test_attributes() -> None:
    softmax = graph("y = Softmax (x)")
    assert fits(op.Softmax(X), softmax.copy()) and fits(op.Softmax(X, axis=-1), softmax.copy())
    assert not fits(op.Softmax(X, axis=1), softmax.copy())
    assert not fits(op.Softmax(X), graph("y = Softmax <axis = 0> (x)"))
    assert fits(op.Softmax(X, axis=anything), graph("y = Softmax <axis = 0> (x)"))
    assert fits(op.Softmax(X, axis=lambda axis: axis < 0), softmax)
    assert fits(op.LeakyRelu(X, alpha=0.2), graph("y = LeakyRelu <alpha = 0.2> (x)"))
    assert not fits(op.Softmax(X, axis=-1), graph("y = Softmax (x)", opset=12))  # 1 by default, until 13
    assert fits(op.Softmax(X, axis=1), graph("y = Softmax (x)", opset=12))


def test_an_attribute_that_differs_is_named() -> None:
    reason = why(op.Neg(op.Softmax(X, axis=0)), graph("s = Softmax <axis = 1> (x) y = Neg (s)"))
    assert "attribute 'axis' of node (Softmax) of 's' is 1, where 0 is expected" in reason


def test_outputs_by_index() -> None:
    split = op.Split(X, axis=1)
    pattern = op.Mul(split, op.Sigmoid(split.output(1)))
    body = "a, b = Split <axis = 1> (x) s = Sigmoid ({}) m = Mul ({}, s) y = Concat <axis = 1> (m, m)"
    assert fits(pattern, graph(body.format("b", "a"), inputs="float[2,2] x", opset=13))
    assert not fits(pattern, graph(body.format("a", "b"), inputs="float[2,2] x", opset=13))


def test_through_casts() -> None:
    pattern = op.Sigmoid(through_cast(op.Exp(X)))
    assert fits(pattern, graph("e = Exp (x) y = Sigmoid (e)"))
    found = parse("""
        <ir_version: 8, opset_import: ["" : 17]> g (float16[2,3] x) => (float[2,3] y)
        { e = Exp (x) c = Cast <to = 1> (e) y = Sigmoid (c) }
    """)
    assert fits(pattern, found) and ops(found) == ["Softsign"]


def test_domains() -> None:
    assert not fits(op.Gelu(X), graph("y = com.microsoft.Gelu (x)"))
    assert fits(op.Gelu(X, domain="com.microsoft"), graph("y = com.microsoft.Gelu (x)"))
    assert not fits(op.Relu(X, domain="com.microsoft"), graph("y = Relu (x)"))


def test_an_operator_that_a_function_redefines_is_another() -> None:
    found = parse("""
        <ir_version: 10, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y) { y = Relu (x) }
        <domain: "", opset_import: ["" : 17]> Relu (a) => (b) { b = Neg (a) }
    """)
    assert not fits(op.Relu(X), found)


def test_two_terms_may_be_one_node_or_two() -> None:
    pattern = op.Mul(op.Sub(X, 1), op.Exp(op.Sub(X, 1)))
    assert fits(pattern, graph("d = Sub (x, k) e = Exp (d) y = Mul (d, e)", "float k = {1}"))
    assert fits(pattern, graph("d = Sub (x, k) f = Sub (x, k) e = Exp (f) y = Mul (d, e)", "float k = {1}"))


def test_below_opset_7_broadcasting_is_another() -> None:
    assert not fits(op.Mul(X, op.Exp(X)), graph("e = Exp (x) y = Mul (e, x)", opset=6))


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("s = Sigmoid (x) y = Mul (x, s) z = Neg (s)", "float[2,3] y, float[2,3] z", "'s' is read 1 times by nodes"),
        ("s = Sigmoid (x) y = Mul (x, s)", "float[2,3] y, float[2,3] s", "'s' is a graph output"),
    ],
)
def test_interiors_belong_to_the_match_alone(body: str, outputs: str, reason: str) -> None:
    found = parse(f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => ({outputs}) {{ {body} }}""")
    assert reason in why(op.Mul(X, op.Sigmoid(X)), found)


def test_a_tensor_that_the_pattern_reads_twice_is_private() -> None:
    e = op.Exp(X)
    assert fits(op.Mul(e, op.Sigmoid(e)), graph("e = Exp (x) s = Sigmoid (e) y = Mul (e, s)"))


def test_nodes_of_two_scopes_are_no_match() -> None:
    found = parse("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x, bool c) => (float[2,3] y) {
            s = Sigmoid (x)
            y = If (c) <
                then_branch = t () => (float[2,3] p) { p = Mul (x, s) },
                else_branch = e () => (float[2,3] q) { q = Neg (x) }
            >
        }
    """)
    assert "is outside the subgraph" in why(op.Mul(X, op.Sigmoid(X)), found)


def test_far_misses_are_not_told() -> None:
    gate, _ = tried(op.Mul(X, op.Sigmoid(X)), graph("e = Exp (x) y = Mul (e, x)"))
    assert gate == Recorder()


def test_the_search_gives_up_rather_than_blow_up() -> None:
    pattern = X
    for _ in range(14):
        pattern = op.Add(pattern, any_())
    pattern = op.Sub(pattern, op.Exp(X))
    body = "a0 = Neg (x) " + " ".join(f"b{k} = Neg (a{k}) a{k + 1} = Add (a{k}, b{k})" for k in range(14))
    found = graph(body + " e = Exp (w) y = Sub (a14, e)", inputs="float[2,3] x, float[2,3] w")
    gate, outcome = tried(pattern, found)
    assert not gate.allowed and outcome.steps <= 100 * 50
