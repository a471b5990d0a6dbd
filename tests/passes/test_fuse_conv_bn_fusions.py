"""`fuse-conv-bn`: what engines fuse as a whole stays whole; what follows a MatMul and its bias goes into both."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxopt import ir
from onnxopt.passes.fuse_conv_bn import FuseConvBn
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass
from tests.passes.random_weights import ops, random_model, random_proto

FUSE = FuseConvBn()


def tokens(body: str, weights: str = "float[3,4] w, float[4] b, float[4] k, float[4] t, float s") -> str:
    return (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,5,3] x) => (float[n,m,c] y) '
        f"<{weights}> {{ half = Constant <value = float {{0.5}}> () {body} }}"
    )


def test_golden_layer_scale() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[1,1,2] x) => (float[1,1,2] y)
        <float[2,2] w = {1, 2, 3, 4}, float[2] b = {5, 6}, float[2] gamma = {10, 100}>
        { [dense] a = MatMul (x, w) [bias] c = Add (b, a) [scale] y = Mul (c, gamma) }
    """)
    check_golden(FUSE, graph.copy(), "layer scale after a MatMul and its bias")
    check_pass(FUSE, graph)


@pytest.mark.parametrize("step", ["Mul (c, k)", "Add (c, t)", "Mul (k, c) z = Add (y, t)"])
def test_what_follows_a_matmul_and_its_bias(step: str) -> None:
    text = tokens(f"a = MatMul (x, w) c = Add (a, b) y = {step}")
    if " z " in text:
        text = text.replace("y = Mul", "v = Mul").replace("z = Add (y", "y = Add (v")
    graph = random_model(text)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Constant", "MatMul", "Add"]


def test_the_scale_of_attention_stays_where_the_engine_looks_for_it() -> None:
    text = tokens("a = MatMul (x, w) c = Add (a, b) y = Mul (c, s)")
    check_refusal(FUSE, random_model(text), "scale of attention")
    graph = random_model(text)
    assert run_pass(FUSE, graph, target="qnn")[0]
    assert ops(graph) == ["Constant", "MatMul", "Add"]


def test_other_readers_between_matmul_and_bias() -> None:
    graph = random_model(tokens("a = MatMul (x, w) c = Add (a, b) d = Mul (c, k) e = Relu (a) y = Add (d, e)"))
    check_pass(FUSE, graph, expect_change=False)
    graph = random_model(tokens("a = MatMul (x, w) c = Add (a, b) d = Mul (c, k) y = Add (d, c)"))
    check_pass(FUSE, graph, expect_change=False)


def zero_bias(target: str | None) -> tuple[bool, ir.Graph]:
    proto = random_proto(tokens("a = MatMul (x, w) y = Add (a, b)"))
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "b")
    bias.CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), "b"))
    graph = ir.from_proto(proto)
    changed, _ = run_pass(FUSE, graph, target=target)
    return changed, graph


def test_a_bias_of_zeros_stays_for_engines_that_fuse_matmul_and_add() -> None:
    """onnxruntime finds BiasGelu and attention by the Add."""
    assert not zero_bias(None)[0]
    changed, graph = zero_bias("qnn")
    assert changed and ops(graph) == ["Constant", "MatMul"]


GELU = "r = Div (x, s) e = Erf (r) p = Add (e, one) m = Mul (x, p) h = Mul (m, half) y = MatMul (h, w)"
TANH = "r = Mul (x, s) e = Tanh (r) p = Add (one, e) m = Mul (p, x) h = Mul (half, m) y = MatMul (h, w)"


@pytest.mark.parametrize("body", [GELU, TANH])
def test_the_half_of_a_gelu_stays(body: str) -> None:
    text = tokens(body, "float[3,4] w, float s, float one")
    check_refusal(FUSE, random_model(text), "ends a Gelu")
    assert run_pass(FUSE, random_model(text), target="coreml")[0]


NORM = (
    "m = ReduceMean <axes = [-1]> (x) d = Sub (x, m) q = Mul (d, d) v = ReduceMean <axes = [-1]> (q) "
    "u = Add (v, s) r = Sqrt (u) n = Div (d, r) h = Mul (n, g) {} y = MatMul (i, w)"
)


@pytest.mark.parametrize("shift", ["i = Add (h, z)", "i = Identity (h)"])
def test_the_scale_and_shift_of_a_normalization_stay(shift: str) -> None:
    text = tokens(
        NORM.format(shift).replace("i = Identity (h) y = MatMul (i", "y = MatMul (h"),
        "float[3,4] w, float vars, float[3] g, float[3] z",
    )
    text = text.replace("(v, s)", "(v, vars)")
    check_refusal(FUSE, random_model(text), "ends a normalization")


def test_a_spelled_instance_normalization_is_no_batch_norm() -> None:
    graph = random_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,4,4] x) => (float[2,3,4,4] y) '
        "<float vars, float[3,1,1] g, float[3,1,1] z> { "
        "m = ReduceMean <axes = [2, 3]> (x) d = Sub (x, m) q = Mul (d, d) v = ReduceMean <axes = [2, 3]> (q) "
        "u = Add (v, vars) r = Sqrt (u) n = Div (d, r) h = Mul (n, g) y = Add (h, z) }"
    )
    check_refusal(FUSE, graph, "end a normalization")
    assert onnx.checker.check_model(ir.to_proto(graph)) is None
