"""`infer-shapes`: declares every value, corrects what cannot be true, and leaves the interface alone."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir import to_text
from onnxopt.passes.infer_shapes import InferShapes
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass

INFER = InferShapes()
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '


def test_golden_scopes_and_symbols() -> None:
    graph = parse(
        HEAD
        + """g (float[batch,3,H,16] x, float[8,3,3,3] w, bool c) => (float[batch,?,?,?] y, q) {
        h = Conv<pads = [1, 1, 1, 1]>(x, w)
        y = If (c) <
            then_branch = t () => (a) { n = Neg(h)  a = Relu(n) },
            else_branch = e () => (b) { b = Abs(h) }
        >
        s = SequenceConstruct(x, x)
        q = Shape(y)
    }"""
    )
    check_golden(INFER, graph, "scopes and symbols")


def test_golden_contradictions() -> None:
    graph = parse(
        HEAD
        + """g (float[batch,4] x) => (float[1,4] y, z) <float[1,4] a, int64[2,found] n> {
        a = Relu(x)
        y = Neg(a)
        n = NonZero(a)
        z = Abs(n)
    }"""
    )
    check_golden(INFER, graph, "contradictions")


def test_nothing_but_declarations_changes() -> None:
    graph = parse(HEAD + "g (float[N,4] x, float[4,3] w) => (y, z) { h = MatMul(x, w)  y = Relu(h)  z = Shape(y) }")
    for output in graph.outputs:  # onnx's checker asks for a type of every output
        output.dtype = np.dtype(np.int64 if output.name == "z" else np.float32)
    ctx = check_pass(INFER, graph)
    assert [(rewrite.what, rewrite.where) for rewrite in ctx.rewrites] == [("declare 3 values", "g")]
    assert ctx.statistics == {"infer-shapes: values declared": 3} and not ctx.warnings


def test_a_declared_model_is_left_alone() -> None:
    check_pass(INFER, parse(HEAD + "g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), expect_change=False)


def test_a_wrong_output_is_refused() -> None:
    graph = parse(HEAD + "g (float[batch,4] x) => (float[1,4] y) { y = Relu(x) }")
    check_refusal(INFER, graph, r"output 'y' is declared float32\[1,4\], but float32\[batch,4\] follows .*: kept")
    _, ctx = run_pass(INFER, graph)
    assert len(ctx.warnings) == 1 and "output 'y'" in ctx.warnings[0]


def test_a_wrong_value_is_corrected_with_a_warning() -> None:
    graph = parse(HEAD + "g (float[batch,4] x) => (float[batch,4] y) <float[1,4] a> { a = Relu(x)  y = Neg(a) }")
    ctx = check_pass(INFER, graph)
    assert graph.nodes[0].outputs[0].shape == ["batch", 4]
    assert [rewrite.what for rewrite in ctx.rewrites] == ["correct 'a' to float32[batch,4]"]
    assert ctx.warnings == [
        "infer-shapes: value 'a' is declared float32[1,4], but float32[batch,4] follows from the inputs: corrected"
    ]


def test_many_stale_declarations_make_few_warnings() -> None:
    steps = " ".join(f"v{index + 1} = Relu(v{index})" for index in range(20))
    stale = ", ".join(f"float[1,4] v{index}" for index in range(1, 20))
    _, ctx = run_pass(INFER, parse(f"{HEAD} g (float[N,4] v0) => (float[N,4] v20) <{stale}> {{ {steps} }}"))
    assert len(ctx.warnings) == 6 and ctx.warnings[-1] == "infer-shapes: ... and 14 more like it"
    assert ctx.statistics["infer-shapes: declarations corrected"] == 19


def test_what_cannot_be_inferred_is_a_warning() -> None:
    _, ctx = run_pass(INFER, parse(HEAD + "g (float[2,3] x) => (float y) { [bad] y = MatMul(x, x) }"))
    assert ctx.warnings == ["infer-shapes: MatMul bad: Incompatible dimensions for matrix multiplication"]


def test_a_limit_stops_between_what_is_new_and_each_correction() -> None:
    model = HEAD + "g (float[N,4] x) => (float[N,4] y) <float[1,4] a, float[1,4] c> {"
    graph = parse(model + " a = Relu(x)  b = Neg(a)  c = Abs(b)  y = Neg(c) }")
    changed, ctx = run_pass(INFER, graph, limit=2)
    assert changed and len(ctx.rewrites) == 2
    assert [node.outputs[0].shape for node in graph.nodes] == [["N", 4], ["N", 4], [1, 4], ["N", 4]]


def test_function_bodies_are_left_alone() -> None:
    graph = parse(
        '<ir_version: 8, opset_import: ["" : 17, "local" : 1]> g (float[N,4] x) => (float[N,8] y) '
        "{ h = local.twice(x)  y = Neg(h) } "
        '<domain: "local", opset_import: ["" : 17]> twice (p) => (q) { a = Relu(p)  q = Concat<axis = 1>(a, a) }'
    )
    body = to_text(graph).partition("twice (p)")[2]
    check_pass(INFER, graph)
    assert graph.nodes[0].outputs[0].shape == ["N", 8]
    assert to_text(graph).partition("twice (p)")[2] == body and isinstance(graph, ir.Graph)
