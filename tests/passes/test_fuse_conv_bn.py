"""`fuse-conv-bn`: what follows or precedes a layer, channel by channel, becomes part of its weights."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxopt import ir
from onnxopt.passes.fuse_conv_bn import FuseConvBn
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, random_feeds, run, run_pass
from tests.passes.random_weights import random_model, random_proto

FUSE = FuseConvBn()
BN = "float[4] s, float[4] b, float[4] m, float[4] var"


def ops(graph: ir.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def conv_bn(
    body: str, weights: str = "float[4,3,3,3] w", *, opset: int = 17, data: str = "float[2,3,7,6] x"
) -> ir.Graph:
    """A model of data `x`, weights `w`, per-channel parameters `s b m var`, output `y`."""
    return random_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({data}) => (float[n,c,h,u] y) <{weights}, {BN}> {{ {body} }}'
    )


def weight(graph: ir.Graph, node: int = 0, index: int = 1) -> np.ndarray:
    return graph.nodes[node].inputs[index].read()


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
    graph = random_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,7,6] x) => (float[n,c,h,u] y) <{weights}, {parameters}> '
        f"{{ {body} y = BatchNormalization (a, s, b, m, var) }}"
    )
    check_pass(FUSE, graph)
    assert len(graph.nodes) == 1


@pytest.mark.parametrize("grouped", ["ConvTranspose <group = 2> (a, w)", "Conv <group = 2> (a, w)"])
def test_input_channels_of_groups(grouped: str) -> None:
    shape = "float[4,3,1,1] w" if "Transpose" in grouped else "float[6,2,1,1] w"
    graph = random_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2,4,3,2] x) => (float[n,c,h,u] y) <{shape}, float[4,1,1] k> '
        f"{{ a = Mul (x, k) y = {grouped} }}"
    )
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


# --- names, sharing, numbers


def test_the_layer_keeps_its_name_and_the_last_tensor_its_own() -> None:
    graph = conv_bn("[conv] a = Conv (x, w) [bn] z = BatchNormalization (a, s, b, m, var) y = Relu (z)")
    check_pass(FUSE, graph)
    assert graph.nodes[0].name == "conv" and graph.nodes[0].outputs[0].name == "z"
    assert graph.nodes[0].inputs[1].name == "w"


def test_shared_weights_are_left_to_the_others() -> None:
    graph = conv_bn("a = Conv (x, w) c = Conv (x, w) d = BatchNormalization (a, s, b, m, var) y = Add (c, d)")
    w = graph.nodes[0].inputs[1]
    before = w.read().copy()
    check_pass(FUSE, graph)
    assert graph.nodes[1].inputs[1] is w
    np.testing.assert_array_equal(w.read(), before)


def test_a_shift_leaves_the_weights_alone() -> None:
    graph = conv_bn("a = Conv (x, w) y = Add (a, k)", "float[4,3,3,3] w, float[4,1,1] k")
    w = graph.nodes[0].inputs[1]
    check_pass(FUSE, graph)
    assert graph.nodes[0].inputs[1] is w


def test_zero_weights_stay_zero() -> None:
    proto = random_proto(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,7,6] x) => (float[n,c,h,u] y) <float[4,3,3,3] w, {BN}> '
        "{ a = Conv (x, w) y = BatchNormalization (a, s, b, m, var) }"
    )
    pruned = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    pruned[:, 1] = 0
    pruned[2] = 0
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(pruned, "w"))
    graph = ir.from_proto(proto)
    check_pass(FUSE, graph)
    np.testing.assert_array_equal(weight(graph) == 0, pruned == 0)


def test_weights_listed_as_inputs_before_ir_version_4() -> None:
    proto = random_proto(
        f'<ir_version: 3, opset_import: ["" : 8]> g (float[2,3,7,6] x) => (float[n,c,h,u] y) <float[4,3,3,3] w, {BN}> '
        "{ a = Conv (x, w) y = BatchNormalization (a, s, b, m, var) }"
    )
    for tensor in proto.graph.initializer:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph = ir.from_proto(proto)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_float16_within_its_rounding() -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,7,6] x) => (float16[2,4,5,4] y)
        <float16[4,3,3,3] w, {BN}> {{
            h = Cast <to = 10> (x) a = Conv (h, w) y = BatchNormalization (a, s, b, m, var) }}""".replace(
        BN, BN.replace("float", "float16")
    )
    before, graph = random_proto(text), random_model(text)
    changed, _ = run_pass(FUSE, graph)
    assert changed and ops(graph) == ["Cast", "Conv"] and weight(graph, 1).dtype == np.float16
    feeds = random_feeds(before)
    one, other = (run(model, feeds)["y"].astype(np.float64) for model in (before, ir.to_proto(graph)))
    assert np.abs(one - other).max() <= 4 * 2**-10 * np.abs(one).max()


@pytest.mark.parametrize(("name", "eps"), [("double", 2**-52), ("bfloat16", 2**-7)])
def test_types_that_onnxruntime_has_no_conv_of(name: str, eps: float) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 22]> g ({name}[1,3,4,4] x) => ({name}[1,4,2,2] y)
        <{name}[4,3,3,3] w, {name}[4,1,1] k, {name}[4,1,1] t> {{ a = Conv (x, w) b = Mul (a, k) y = Add (b, t) }}"""
    graph = random_model(text)
    changed, _ = run_pass(FUSE, graph)
    assert changed and ops(graph) == ["Conv"]
    exact = reference(random_proto(text.replace(name, "double")))
    found = reference(widened(ir.to_proto(graph)))
    assert np.abs(exact - found).max() <= 32 * eps * np.abs(exact).max()


def reference(model: onnx.ModelProto) -> np.ndarray:
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 3, 4, 4))}
    return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same numbers as doubles: the reference evaluator has no Conv of bfloat16."""
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return model


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(["BN", "Mul", "Add", "Sub", "Div", "Rsub"]), min_size=1, max_size=6), st.integers(0, 99)
)
def test_random_chains(steps: list[str], seed: int) -> None:
    """A chain after and before a layer folds wholly, whatever it is made of."""
    lines, tensor = [], "x"
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
    weights = ", ".join(
        f"float[{c}] s{c}, float[{c}] b{c}, float[{c}] m{c}, float[{c}] var{c}, float[{c},1,1] k{c}, float[{c},1,1] vark{c}"
        for c in (3, 4)
    )
    graph = random_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,5,5] x) => (float[n,c,h,u] y) '
        f"<float[4,3,3,3] w, {weights}> {{ {' '.join(lines)} y = Relu ({tensor}) }}",
        seed,
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv", "Relu"]


# --- what is refused, and why


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Conv (x, w) y, rm, rv = BatchNormalization <training_mode = 1> (a, s, b, m, var)", "in training mode"),
        ("a = Conv (x, w) z = BatchNormalization (a, s, b, m, var) y = Add (a, z)", "'a' is read 2 times"),
        ("a = Conv (x, w) y = Mul (a, k)", "'k' of shape .* is not one number for each channel"),
        ("a = Conv (x, w) y = Div (k1, a)", "divides by the data"),
        ("a = Conv (x, w) y = Div (a, zero)", "not finite"),
        ("v = Relu (r) a = Conv (x, v) y = BatchNormalization (a, s, b, m, var)", "weight 'v' is not constant"),
        ("a = Conv (x, w) y = BatchNormalization (a, s, b, m, negative)", "variance . epsilon is not positive"),
        ("a = Conv (x, w) y = Mul (a, huge)", "would not be finite in float32"),
        ("a = Mul (x, k3) y = Conv (a, w)", "'x' is not known to have 3 channels"),
        ("q = Reshape (x, to) a = Mul (q, ones) y = Conv (a, w)", "rank of 'q' is not known"),
        ("a = Conv (x, w) y = BatchNormalization (a, s, b, m, r1)", "variance 'r1' is not constant"),
    ],
)
def test_refusals(body: str, reason: str) -> None:
    proto = random_proto(
        f"""<ir_version: 8, opset_import: ["" : 17]>
            g (float[n,c,7,6] x, float[4,3,3,3] r, float[4] r1, int64[4] to) => (float[n,d,h,u] y)
            <float[4,3,3,3] w, {BN}, float[4,5,4] k, float[4,1,1] k1, float[3,1,1] k3, float[1,1,1,1] ones,
             float[4] negative, float huge, float zero> {{ {body} }}"""
    )
    assign(proto, negative=-np.ones(4), huge=3e38, zero=0)
    graph = ir.from_proto(proto)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed
    assert [said.what for said in ctx.refusals if re.search(reason, said.what)], ctx.refusals


def assign(proto: onnx.ModelProto, **values: object) -> None:
    """Replace random weights by these."""
    for tensor in proto.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(values[tensor.name], np.float32), tensor.name))


def test_training_before_opset_14_is_told_by_the_outputs() -> None:
    graph = conv_bn("a = Conv (x, w) y, mean, v, sm, sv = BatchNormalization (a, s, b, m, var)", opset=9)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed and "training mode" in ctx.refusals[0].what


def test_opset_6_has_to_say_that_it_tests() -> None:
    for attributes, folds in (("", False), ("<is_test = 1>", True), ("<is_test = 1, spatial = 0>", False)):
        graph = conv_bn(f"a = Conv (x, w) y = BatchNormalization {attributes} (a, s, b, m, var)", opset=6)
        changed, ctx = run_pass(FUSE, graph)
        assert changed == folds and bool(ctx.refusals) != folds


def test_spatial_0_is_refused() -> None:
    graph = conv_bn("a = Conv (x, w) y = BatchNormalization <spatial = 0> (a, s, b, m, var)", opset=7)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed and "spatial=0" in ctx.refusals[0].what


def test_an_intermediate_graph_output_stays() -> None:
    graph = random_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,7,6] x) => (float[2,4,5,4] y, float[2,4,5,4] a)
            <float[4,3,3,3] w, {BN}> {{ a = Conv (x, w) y = BatchNormalization (a, s, b, m, var) }}"""
    )
    check_refusal(FUSE, graph, "'a' is a graph output")


@pytest.mark.parametrize("name", ["w", "var"])
def test_weights_that_the_caller_may_override(name: str) -> None:
    proto = random_proto(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,7,6] x) => (float[2,4,5,4] y)
            <float[4,3,3,3] w, {BN}> {{ a = Conv (x, w) y = BatchNormalization (a, s, b, m, var) }}"""
    )
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    proto.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    check_refusal(FUSE, ir.from_proto(proto), f"'{name}' may be overridden by the caller")


def test_a_reader_in_a_subgraph_is_not_folded() -> None:
    graph = random_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[1,3,5,5] x, bool which) => (float[1,4,3,3] y)
        <float[4,3,3,3] w, float k, float[1,4,3,3] other> {
            a = Conv (x, w)
            y = If (which) <
                then_branch = then () => (float[1,4,3,3] t) { t = Mul (a, k) },
                else_branch = otherwise () => (float[1,4,3,3] e) { e = Identity (other) }
            >
        }
    """)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed and "computed outside the subgraph" in ctx.refusals[0].what


def test_an_attribute_of_the_caller_of_a_function() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]> g (float[1,1,2,2] x) => (float[1,1,2,2] y)
        { y = local.block <eps = 0.5> (x) }
        <domain: "local", opset_import: ["" : 17]> block <eps> (x) => (y) {
            w = Constant <value = float[1,1,1,1] {3}> ()
            k = Constant <value = float[1] {2}> ()
            c = Conv (x, w)
            y = BatchNormalization <epsilon : float = @eps> (c, k, k, k, k)
        }
    """)
    check_refusal(FUSE, graph, "'epsilon' is set by the caller of the function")


def test_float16_weights_that_would_lose_digits() -> None:
    proto = random_proto(
        """<ir_version: 8, opset_import: ["" : 17]> g (float16[2,3,7,6] x) => (float16[2,4,5,4] y)
           <float16[4,3,3,3] w, float16[4,1,1] k> { a = Conv (x, w) y = Mul (a, k) }"""
    )
    factors = np.array([1, 1, 1e-6, 1], np.float16).reshape(4, 1, 1)
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(factors, "k"))
    changed, ctx = run_pass(FUSE, ir.from_proto(proto))
    assert not changed and "channel 2 would lose digits in float16" in ctx.refusals[0].what


def test_the_limit_stops_within_a_chain() -> None:
    graph = conv_bn("a = Conv (x, w) c = Mul (a, k) y = Add (c, k)", "float[4,3,3,3] w, float[4,1,1] k")
    changed, ctx = run_pass(FUSE, graph, limit=1)
    assert changed and ops(graph) == ["Conv", "Add"] and len(ctx.rewrites) == 1


def test_an_unrelated_residual_is_no_near_match() -> None:
    graph = conv_bn("a = Conv (x, w) c = Conv (x, w) y = Add (a, c)")
    ctx = check_pass(FUSE, graph, expect_change=False)
    assert not ctx.refusals
