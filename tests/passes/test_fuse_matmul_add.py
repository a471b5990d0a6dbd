"""`fuse-matmul-add`: MatMul, Add and Transpose of matrices as one Gemm; of a higher rank they stay."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_matmul_add import FuseMatmulAdd
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass
from tests.passes.random_weights import ops, random_model, random_proto

FUSE = FuseMatmulAdd()


def matrices(
    body: str, weights: str, *, data: str = "float[5,3] x", output: str = "[5,4]", opset: int = 17
) -> ir.Graph:
    return random_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({data}) => (float{output} y) <{weights}> {{ {body} }}'
    )


def test_golden() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,2] x) => (float[n,2] y)
        <float[2,2] w = {1, 2, 3, 4}, float[2] b = {5, 6}>
        {
            t = Transpose <perm = [1, 0]> (w)
            [dense] a = MatMul (x, t)
            [bias] y = Add (b, a)
        }
    """)
    check_golden(FUSE, graph.copy(), "Transpose, MatMul and Add of matrices")
    check_pass(FUSE, graph)


@pytest.mark.parametrize(
    "bias", ["float[4] c", "float[1,4] c", "float[5,1] c", "float[5,4] c", "float c", "float[1] c"]
)
@pytest.mark.parametrize("opset", [7, 9, 11, 13, 21])
def test_biases_that_broadcast(bias: str, opset: int) -> None:
    graph = matrices("a = MatMul (x, w) y = Add (a, c)", f"float[3,4] w, {bias}", opset=opset)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Gemm"]


@pytest.mark.parametrize("rows", [1, 3])
def test_symbolic_rows(rows: int) -> None:
    graph = matrices(
        "a = MatMul (x, w) y = Add (a, c)", "float[3,4] w, float[4] c", data="float[n,3] x", output="[n,4]"
    )
    check_pass(FUSE, graph, {"x": np.ones((rows, 3), np.float32)})
    assert ops(graph) == ["Gemm"]


def test_a_bias_that_enlarges_a_symbolic_row_stays() -> None:
    graph = matrices(
        "a = MatMul (x, w) y = Add (a, c)", "float[3,4] w, float[5,4] c", data="float[n,3] x", output="[m,4]"
    )
    ctx = check_pass(FUSE, graph, {"x": np.ones((1, 3), np.float32)}, expect_change=False)
    assert "does not broadcast to a matrix [?, 4]" in ctx.refusals[0].what


def test_a_gemm_without_bias_takes_one() -> None:
    graph = matrices("a = Gemm <alpha = 0.5, beta = 3.0, transB = 1> (x, w) y = Add (a, c)", "float[4,3] w, float[4] c")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Gemm"] and graph.nodes[0].attrs == {"alpha": 0.5, "transB": 1}


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("t = Transpose (w) y = MatMul (x, t)", "float[4,3] w"),
        ("t = Transpose <perm = [1,0]> (w) y = Gemm (x, t, c)", "float[4,3] w, float[4] c"),
        ("t = Transpose <perm = [1,0]> (w) y = Gemm <transB = 1> (x, t)", "float[3,4] w"),
        ("s = Transpose (x) t = Transpose (s) y = Gemm (t, w)", "float[3,4] w"),
        ("t = Transpose (w) a = MatMul (x, t) y = Add (a, c)", "float[4,3] w, float[4] c"),
        ("v = Transpose (z) a = MatMul (v, w) y = Add (a, c)", "float[3,4] w, float[4] c"),
    ],
)
def test_transposes_become_flags(body: str, weights: str) -> None:
    graph = matrices(body, weights, data="float[5,3] x, float[3,5] z")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Gemm"]


def test_no_weight_is_read_for_a_flag() -> None:
    graph = matrices("t = Transpose (w) y = Gemm (x, t)", "float[4,3] w")
    w = graph.nodes[0].inputs[0]
    run_pass(FUSE, graph)
    assert graph.nodes[0].inputs[1] is w


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = MatMul (x3, w) y = Add (a, c)", "not certain to be of rank 2"),
        ("r = Reshape (x, to) a = MatMul (r, w) y = Add (a, c)", "not certain to be of rank 2"),
        ("a = MatMul (x, w) y = Add (a, c3)", r"of shape \[2, 1, 4\] does not broadcast"),
        ("t = Transpose (z) a = MatMul (t, w) b = Gemm (t, w) d = Add (a, b) y = Relu (d)", "read elsewhere too"),
    ],
)
def test_refusals(body: str, reason: str) -> None:
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[5,3] x, float[2,5,3] x3, float[3,5] z, int64[k] to) => (float y)
        <float[3,4] w, float[4] c, float[2,1,4] c3> {{ {body} }}
    """)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed and any(re.search(reason, said.what) for said in ctx.refusals), ctx.refusals


def test_intermediate_output_and_second_reader_stay() -> None:
    for outputs in ("float[5,4] y, float[5,4] a", "float[5,4] y, float[5,4] z"):
        graph = random_model(
            f'<ir_version: 8, opset_import: ["" : 17]> g (float[5,3] x) => ({outputs}) <float[3,4] w, float[4] c> '
            "{ a = MatMul (x, w) y = Add (a, c) z = Relu (a) }"
        )
        check_pass(FUSE, graph, expect_change=False)


def test_a_bias_that_the_caller_may_override() -> None:
    proto = random_proto(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[5,3] x) => (float[5,4] y) <float[3,4] w, float[4] c> '
        "{ a = MatMul (x, w) y = Add (a, c) }"
    )
    proto.graph.input.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [4]))
    check_refusal(FUSE, ir.from_proto(proto), "'c' may be overridden")


def test_integers_stay() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["" : 17]> g (int32[2,2] x) => (int32[2,2] y)
        <int32[2,2] w = {1, 2, 3, 4}, int32[2] b = {5, 6}> { a = MatMul (x, w) y = Add (a, b) }""")
    check_refusal(FUSE, graph, "not floating-point")
    graph = parse("""<ir_version: 8, opset_import: ["" : 17]> g (int32[2,2] x) => (int32[2,2] y)
        <int32[2,2] w = {1, 2, 3, 4}> { t = Transpose (w) y = MatMul (x, t) }""")
    check_refusal(FUSE, graph, "not known to be floating-point")


def test_old_opsets() -> None:
    graph = matrices("t = Transpose (w) y = MatMul (x, t)", "float[4,3] w", opset=9)
    check_refusal(FUSE, graph, "needs a bias in opset 9")
    graph = matrices("a = MatMul (x, w) y = Add <broadcast = 1> (a, c)", "float[3,4] w, float[4] c", opset=6)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed and "opset 6 broadcasts by attributes" in ctx.refusals[0].what


def test_in_a_subgraph_and_with_constant_nodes_of_a_function() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[2,2] x, bool which) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}> {
            a = If (which) <
                then_branch = then () => (float[2,2] p) {
                    m = MatMul (x, w) c = Constant <value = float[2] {5, 6}> () p = Add (m, c)
                },
                else_branch = otherwise () => (float[2,2] q) { q = Identity (x) }
            >
            y = local.dense (a)
        }
        <domain: "local", opset_import: ["" : 17]>
        dense (x) => (y) {
            w = Constant <value = float[2,2] {1, 2, 3, 4}> ()
            c = Constant <value = float[2] {5, 6}> ()
            m = MatMul (x, w)
            y = Add (m, c)
        }
    """)
    ctx = check_pass(FUSE, graph, {"x": np.ones((2, 2), np.float32), "which": np.array(True)})
    assert [node.op for node in ir.every_node(graph)].count("Gemm") == 1
    assert any("rank 2" in said.what for said in ctx.refusals)


def test_the_limit() -> None:
    graph = matrices("a = MatMul (x, w) y = Add (a, c)", "float[3,4] w, float[4] c")
    changed, ctx = run_pass(FUSE, graph, limit=0)
    assert not changed and not ctx.rewrites
