"""`eliminate-zero-addends`: x + 0.0 goes where nothing tells -0.0 from 0.0."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.eliminate_zero_addends import EliminateZeroAddends
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

PASS = EliminateZeroAddends()
SEEN = "sign of a zero may be seen"


def graph(body: str, *, data: str = "float[2,3] x", result: str = "float[2,3] y", zeros: str = "{0, 0, 0}") -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]>
        g ({data}, float[3,3] m, bool c) => ({result})
        <float[3] z = {zeros}, float[3] one = {{1, 2, 3}}, float[3] two = {{2, 2, 2}}, float[3] minus = {{-1, 1, 1}}>
        {{ {body} }}
    """)


def test_golden() -> None:
    text = "[product] a = MatMul (x, m) [bias] b = Add (a, z) [act] y = Tanh (b)"
    check_golden(PASS, graph(text), "an untrained bias")
    check_pass(PASS, graph(text))


@pytest.mark.parametrize("zeros", ["{0, 0, 0}", "{-0.0, 0, 0}"])
@pytest.mark.parametrize("add", ["Add (x, z)", "Add (z, x)"])
def test_either_zero_on_either_side(add: str, zeros: str) -> None:
    made = graph(f"a = {add} y = Relu (a)", zeros=zeros)
    check_pass(PASS, made)
    assert ops(made) == ["Relu"]


@pytest.mark.parametrize(
    "rest",
    [
        "y = Div (one, a)",
        "b = Sqrt (a) y = Reciprocal (b)",
        "b = Relu (a) d = Mul (b, one) y = Div (x, d)",
        "y = Pow (a, minus)",
        "y = Pow (two, a)",
        "s = Cast <to = 8> (a) r = Cast <to = 1> (s) y = Reciprocal (r)",
        "y = If (c) <then_branch = t () => (float[2,3] p) { p = Reciprocal (a) }, "
        "else_branch = e () => (float[2,3] q) { q = Identity (a) }>",
        "y = com.microsoft.Gelu (a)",
    ],
)
def test_where_the_sign_may_be_seen_it_stays(rest: str) -> None:
    made = graph(f"n = Neg (x) a = Add (n, z) {rest}")
    check_refusal(PASS, made, SEEN)


@pytest.mark.parametrize(
    "rest",
    [
        "y = Div (a, two)",
        "b = Abs (a) y = Div (one, b)",
        "b = Softmax (a) y = Reciprocal (b)",
        "y = Pow (a, two)",
        "h = Cast <to = 10> (a) y = Cast <to = 1> (h)",
        "b = Div (a, two) d = MatMul (b, m) y = Add (d, x)",
    ],
)
def test_where_it_cannot_be_it_goes(rest: str) -> None:
    made = graph(f"n = Neg (x) a = Add (n, z) {rest}")
    feeds = {
        "x": np.array([[0, 1, -2], [-0.0, 3, 0]], np.float32),
        "m": np.eye(3, dtype=np.float32),
        "c": np.array(True),
    }
    check_pass(PASS, made, feeds)
    assert "Add" not in ops(made)[:2]


def test_a_reader_between_the_add_and_a_division_elsewhere_does_not_matter() -> None:
    made = graph("a = Add (x, z) b = Tanh (a) d = Reciprocal (one) y = Mul (b, d)")
    check_pass(PASS, made)


def test_an_output_takes_over_its_name() -> None:
    made = graph("a = Tanh (x) y = Add (a, z)")
    check_pass(PASS, made)
    assert ops(made) == ["Tanh"] and made.outputs[0].name == "y"
    check_refusal(PASS, graph("y = Add (x, z)"), "an input")


def test_shapes_that_grow_or_are_not_certain() -> None:
    made = graph("a = Add (x, z) y = Relu (a)", data="float[2,1] x")
    check_pass(PASS, made, expect_change=False)
    made = graph("a = Add (x, z) y = Relu (a)", data="float[2,N] x", result="float[2,M] y")
    changed, ctx = run_pass(PASS, made)
    assert not changed and "not certain" in ctx.refusals[0].what


def test_numbers_and_integers_stay() -> None:
    check_pass(PASS, graph("a = Add (x, one) y = Relu (a)"), expect_change=False)
    made = parse("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (int64[3] x) => (int64[3] y) <int64[3] z = {0, 0, 0}> { a = Add (x, z) y = Abs (a) }
    """)
    check_pass(PASS, made, expect_change=False)


def test_what_a_subgraph_does_inside_is_left_alone() -> None:
    made = graph(
        "y = If (c) <then_branch = t () => (float[2,3] p) { o = Add (x, z) p = Relu (o) }, "
        "else_branch = e () => (float[2,3] q) { q = Identity (x) }>"
    )
    check_pass(PASS, made, expect_change=False)
