"""`fuse-conv-bn`: what is left alone, and the reason given."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxopt import ir
from onnxopt.passes.fuse_conv_bn import FuseConvBn
from tests.passes.checks import check_pass, check_refusal, parse, run_pass
from tests.passes.random_weights import ops, random_layers, random_model, random_proto

FUSE = FuseConvBn()
BN = "float[4] s, float[4] b, float[4] m, float[4] var"


def conv_bn(body: str, weights: str = "float[4,3,3,3] w", *, opset: int = 17) -> ir.Graph:
    """A model of data `x`, weights, per-channel parameters `s b m var`, output `y`."""
    return random_layers(body, f"{weights}, {BN}", opset=opset, data="float[2,3,7,6] x")


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
        ("a = Conv (x, w) y = Mul (a, huge)", "so extreme that what overflows"),
        ("a = Mul (x, k3) y = Conv (a, w)", "'x' is not certain to have 3 channels"),
        ("q = Reshape (x, to) a = Mul (q, ones) y = Conv (a, w)", "rank of 'q' is not certain"),
        ("a = Conv (x, w) y = BatchNormalization (a, s, b, m, r1)", "variance 'r1' is not constant"),
    ],
)
def test_refusals(body: str, reason: str) -> None:
    proto = random_proto(
        f"""<ir_version: 8, opset_import: ["" : 17]>
            g (float[n,c,7,6] x, float[4,3,3,3] r, float[4] r1, int64[k] to) => (float[n,d,h,u] y)
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
