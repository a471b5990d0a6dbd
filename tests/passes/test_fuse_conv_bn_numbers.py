"""`fuse-conv-bn`: names, shared weights, and the numbers that come out in every type."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxopt import ir
from onnxopt.passes.fuse_conv_bn import FuseConvBn
from tests.passes.checks import check_pass, parse, random_feeds, run, run_pass
from tests.passes.conv_bn import BN, conv_bn, weight
from tests.passes.random_weights import ops, random_layers, random_model, random_proto

FUSE = FuseConvBn()


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
    return np.asarray(next(iter(ReferenceEvaluator(model).run(None, feeds))))


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same numbers as doubles: the reference evaluator has no Conv of bfloat16."""
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return model


def test_parameters_of_another_type_than_the_data() -> None:
    text = """<ir_version: 8, opset_import: ["" : 15]> g (float16[2,3,7,6] x) => (float16[2,4,5,4] y)
        <float16[4,3,3,3] w, float16[4] s, float16[4] b, float[4] m, float[4] var> {
            a = Conv (x, w) y = BatchNormalization (a, s, b, m, var) }"""
    graph = random_model(text)
    changed, _ = run_pass(FUSE, graph)
    assert changed and [tensor.dtype for tensor in graph.nodes[0].inputs[1:]] == [np.float16] * 2


def test_one_weight_read_by_thousands() -> None:
    count = 2000
    body = " ".join(f"a{i} = Conv (x, w) b{i} = Mul (a{i}, k)" for i in range(count))
    body += f" y = Sum ({', '.join(f'b{i}' for i in range(count))})"
    graph = random_layers(body, "float[4,3,1,1] w, float[4,1,1] k", data="float[1,3,1,1] x")
    changed, ctx = run_pass(FUSE, graph)
    assert changed and len(ctx.rewrites) == count and ops(graph) == ["Conv"] * count + ["Sum"]
    assert len({id(node.inputs[1]) for node in graph.nodes[:-1]}) == count


def test_the_default_epsilon_is_a_float32_in_double_precision_too() -> None:
    """1e-5 in float32 is 9.99999974737875e-06: beside a variance of 1e-6 it makes a difference of 1e-8."""
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 22]> g (double[4,3] x) => (double[4,3] y)
        <double[3] s = {1, 2, 3}, double[3] b = {0, 0, 0}, double[3] v = {1e-6, 2e-6, 3e-6}>
        { a = BatchNormalization (x, s, b, b, v) y = BatchNormalization (a, s, b, b, v) }""")
    before, given = ir.to_proto(graph.copy()), random_feeds(ir.to_proto(graph))
    run_pass(FUSE, graph)
    assert ops(graph) == ["BatchNormalization"]
    one, other = run(before, given)["y"], run(ir.to_proto(graph), given)["y"]
    np.testing.assert_allclose(one, other, rtol=1e-14)


@pytest.mark.parametrize("k", [1e25, 1e-25])
def test_a_scale_that_overflows_or_vanishes_on_the_way_stays(k: float) -> None:
    """Of Conv, Mul by 1e25 and Div by 1e25 the first two would be folded, and then the third."""
    proto = random_proto(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,7,6] x) => (float[n,c,h,u] y) '
        "<float[4,3,3,3] w, float[4,1,1] k> { a = Conv (x, w) p = Mul (a, k) y = Div (p, k) }"
    )
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.full((4, 1, 1), k, np.float32), "k"))
    graph = ir.from_proto(proto)
    _, ctx = run_pass(FUSE, graph)
    assert ops(graph) == ["Conv", "Mul", "Div"]
    assert any("so extreme that what overflows or vanishes" in refusal.what for refusal in ctx.refusals)
