"""`fuse-conv-bn`: what follows or precedes a layer, channel by channel, becomes part of its weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt.passes.fuse_conv_bn import FuseConvBn
from tests.passes.checks import check_golden, check_pass, check_refusal, parse
from tests.passes.conv_bn import BN, DATA, conv_bn, weight
from tests.passes.random_weights import ops, random_layers, random_model

FUSE = FuseConvBn()


# --- what is folded


def test_golden_batch_norm_and_arithmetic() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,1,2,2] x) => (float[1,2,2,2] y)
        <float[2,1,1,1] w = {1, 2}, float[2] s = {1, 3}, float[2] b = {0.5, 0.25}, float[2] m = {2, 1},
         float[2] v = {3, 8}, float[2,1,1] k = {2, 10}, float t = {1}>
        {
            [conv] a = Conv (x, w)
            [norm] c = BatchNormalization <epsilon = 1.0> (a, s, b, m, v)
            [scale] d = Mul (k, c)
            [flip] e = Sub (t, d)
            y = Relu (e)
        }
    """)
    check_golden(FUSE, graph, "BatchNormalization, Mul and Sub after a Conv")
    np.testing.assert_allclose(weight(graph).reshape(-1), [-1, -20])  # 1 - 2 (0.5 x - 0.5) and 1 - 10 (2 x - 0.75)
    np.testing.assert_allclose(weight(graph, index=2), [2, 8.5])


def test_golden_affine_before_a_conv_without_padding() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,2] x) => (float[1,1,1,1] y)
        <float[2,1,1] mean = {1, 2}, float[1,2,1,1] std = {2, 4}, float[1,2,2,2] w = {2, 2, 2, 2, 4, 4, 4, 4}>
        {
            a = Sub (x, mean)
            b = Div (a, std)
            [conv] y = Conv (b, w)
        }
    """)
    check_golden(FUSE, graph, "normalisation before a Conv")
    np.testing.assert_array_equal(weight(graph).reshape(-1), [1] * 8)
    np.testing.assert_array_equal(weight(graph, index=2), [-12])


def test_golden_in_a_function_and_a_subgraph() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1,1,2,2] x, bool which) => (float[1,1,2,2] y)
        <float[1,1,1,1] w = {2}, float[1] one = {1}, float[1] two = {2}>
        {
            a = If (which) <
                then_branch = then () => (float[1,1,2,2] t) {
                    c = Conv (x, w)
                    t = BatchNormalization <epsilon = 0.0> (c, two, one, one, one)
                },
                else_branch = other () => (float[1,1,2,2] e) { e = Conv (x, w) }
            >
            y = local.block (a)
        }
        <domain: "local", opset_import: ["" : 17]>
        block (x) => (y) {
            w = Constant <value = float[1,1,1,1] {3}> ()
            k = Constant <value = float[1] {2}> ()
            c = Conv (x, w)
            y = Mul (c, k)
        }
    """)
    check_golden(FUSE, graph.copy(), "weights shared between branches; Constant nodes of a function")
    check_pass(FUSE, graph, {"x": np.ones((1, 1, 2, 2), np.float32), "which": np.array(True)})


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 14, 15, 17, 21])
def test_conv_of_every_opset(opset: int) -> None:
    graph = conv_bn(
        "a = Conv <pads = [1, 0, 2, 1], strides = [2, 1]> (x, w) y = BatchNormalization (a, s, b, m, var)", opset=opset
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("a = Conv <dilations = [2, 2]> (x, w, bias)", "float[4,3,3,3] w, float[4] bias"),
        ('a = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w)', "float[4,3,3,3] w"),
        ("a = Conv <group = 3> (x, w)", "float[6,1,3,3] w"),
        ("a = ConvTranspose <strides = [2, 2]> (x, w)", "float[3,4,3,3] w"),
        ("a = ConvTranspose <group = 3, pads = [1, 1, 0, 1]> (x, w, bias)", "float[3,2,3,3] w, float[6] bias"),
        ("a = ConvTranspose <output_padding = [1, 0], strides = [2, 1]> (x, w)", "float[3,4,2,2] w"),
    ],
)
def test_layouts_of_weights(body: str, weights: str) -> None:
    channels = 6 if "6" in weights else 4
    parameters = BN.replace("4", str(channels))
    body += " y = BatchNormalization (a, s, b, m, var)"
    graph = random_layers(body, f"{weights}, {parameters}", data=DATA)
    check_pass(FUSE, graph)
    assert len(graph.nodes) == 1


@pytest.mark.parametrize("grouped", ["ConvTranspose <group = 2> (a, w)", "Conv <group = 2> (a, w)"])
def test_input_channels_of_groups(grouped: str) -> None:
    shape = "float[4,3,1,1] w" if "Transpose" in grouped else "float[6,2,1,1] w"
    graph = random_layers(f"a = Mul (x, k) y = {grouped}", f"{shape}, float[4,1,1] k", data="float[2,4,3,2] x")
    check_pass(FUSE, graph)
    assert len(graph.nodes) == 1


@pytest.mark.parametrize(("spatial", "kernel"), [("9", "3"), ("5,4,6", "2,1,3")])
def test_one_and_three_spatial_axes(spatial: str, kernel: str) -> None:
    out = ",".join("abcde"[: spatial.count(",") + 3])
    graph = random_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,{spatial}] x) => (float[{out}] y) '
        f"<float[4,3,{kernel}] w, {BN}> {{ a = Conv (x, w) y = BatchNormalization (a, s, b, m, var) }}"
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


GEMM = (
    '<ir_version: 8, opset_import: ["" : {opset}]> g (float[5,3] x) => (float[5,4] y) <{weights}, '
    + BN
    + "> {{ {body} }}"
)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("a = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, c)", "float[4,3] w, float[4] c"),
        ("a = Gemm <alpha = 0.5> (x, w)", "float[3,4] w"),
        ("a = Gemm <beta = 3.0> (x, w, c)", "float[3,4] w, float[1,4] c"),
        ("a = Gemm (x, w, c)", "float[3,4] w, float[1] c"),
        ("a = MatMul (x, w)", "float[3,4] w"),
        ("p = MatMul (x, w) a = Add (c, p)", "float[3,4] w, float[4] c"),
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_gemm_and_matmul(body: str, weights: str, opset: int) -> None:
    body += " y = BatchNormalization (a, s, b, m, var)"
    graph = random_model(GEMM.format(opset=opset, weights=weights, body=body))
    check_pass(FUSE, graph)
    assert ops(graph) == ["Gemm"]


def test_before_a_gemm() -> None:
    body = "a = BatchNormalization (x, s2, b2, m2, var2) y = Gemm <alpha = 0.5, beta = 2.0> (a, w, c)"
    weights = "float[3] s2, float[3] b2, float[3] m2, float[3] var2, float[3,4] w, float[4] c"
    graph = random_model(GEMM.format(opset=17, weights=weights, body=body))
    check_pass(FUSE, graph)
    assert ops(graph) == ["Gemm"]


def test_matmul_of_any_rank_takes_a_scale_but_no_bias() -> None:
    graph = random_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2,5,3] x) => (float[2,5,4] y)
        <float[3,4] w, float k, float[4] t> { a = MatMul (x, w) b = Div (a, k) y = Add (b, t) }
    """)
    ctx = check_pass(FUSE, graph)
    assert ops(graph) == ["MatMul", "Add"]
    assert "MatMul has no bias" in ctx.refusals[0].what


@pytest.mark.parametrize("step", ["Mul (a, k)", "Mul (k, a)", "Add (k, a)", "Sub (a, k)", "Sub (k, a)", "Div (a, k)"])
@pytest.mark.parametrize("shape", ["float[4,1,1] k", "float[1,4,1,1] k", "float k", "float[1] k", "float[1,1,1,1] k"])
def test_arithmetic(step: str, shape: str) -> None:
    graph = conv_bn(f"a = Conv (x, w) y = {step}", f"float[4,3,3,3] w, {shape}")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_one_by_one_depthwise_is_a_scale() -> None:
    graph = conv_bn("a = Conv (x, w) y = Conv <group = 4> (a, d, e)", "float[4,3,3,3] w, float[4,1,1,1] d, float[4] e")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_scale_before_a_padded_conv_but_not_shift() -> None:
    text = "a = {} (x, k) y = Conv <pads = [1, 1, 1, 1]> (a, w)"
    graph = conv_bn(text.format("Mul"), "float[4,3,3,3] w, float[3,1,1] k")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]
    check_refusal(FUSE, conv_bn(text.format("Add"), "float[4,3,3,3] w, float[3,1,1] k"), "pads with zeros")
    check_refusal(
        FUSE,
        conv_bn('a = Add (x, k) y = Conv <auto_pad = "SAME_LOWER"> (a, w)', "float[4,3,3,3] w, float k"),
        "pads with",
    )
    check_refusal(FUSE, conv_bn("a = Add (x, k) y = ConvTranspose (a, w)", "float[3,4,3,3] w, float k"), "fewer taps")


def test_batch_norm_before_a_pointwise_conv_that_claims_to_pad() -> None:
    graph = conv_bn('a = Add (x, k) y = Conv <auto_pad = "SAME_UPPER"> (a, w)', "float[4,3,1,1] w, float k")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(["BN", "Mul", "Add", "Sub", "Div", "Rsub"]), min_size=1, max_size=6), st.integers(0, 99)
)
def test_random_chains(steps: list[str], seed: int) -> None:
    """A chain after and before a layer folds wholly, whatever it is made of."""
    lines: list[str] = []
    tensor = "x"
    for number, step in enumerate([*steps[::2], "Conv", *steps[1::2]]):
        result = f"t{number}"
        channels = 3 if "w" not in "".join(lines) else 4
        text = {
            "BN": f"BatchNormalization ({tensor}, s{channels}, b{channels}, m{channels}, var{channels})",
            "Conv": f"Conv ({tensor}, w)",
            "Rsub": f"Sub (k{channels}, {tensor})",
            "Div": f"Div ({tensor}, vark{channels})",
        }.get(step, f"{step} ({tensor}, k{channels})")
        lines.append(f"{result} = {text}")
        tensor = result
    weights = ", ".join(f"float[{c}] {name}{c}" for c in (3, 4) for name in ("s", "b", "m", "var"))
    weights += ", " + ", ".join(f"float[{c},1,1] {name}{c}" for c in (3, 4) for name in ("k", "vark"))
    graph = random_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,5,5] x) => (float[n,c,h,u] y) '
        f"<float[4,3,3,3] w, {weights}> {{ {' '.join(lines)} y = Relu ({tensor}) }}",
        seed,
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv", "Relu"]
