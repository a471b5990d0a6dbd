"""What `eliminate-identities` leaves alone, and the reasons it gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.passes.eliminate_identities import EliminateIdentities
from tests.passes.checks import check_pass, check_refusal, parse, run_pass
from tests.passes.identity_models import ELIMINATE, around

REFUSED = [
    ("b = Add (a, zero)", "float zero = {0}", "turns -0.0 into 0.0"),
    ("b = Sub (a, zero)", "float zero = {-0.0}", "turns -0.0 into 0.0"),
    ("b = Dropout (a, ratio, mode)", "float ratio = {0.5}, bool mode = {1}", "may be training"),
    ("b, mask = Dropout (a) m = Cast <to = 1> (mask) c = Mul (m, x)", "", "mask is read"),
    ("b = Cast <to = 1> (a)", "", "element type of 'a' is not known"),
    ("r = Reshape (a, any) b = Reshape (r, shape)", "int64[2] shape = {0, 3}", "shape of 'r' is not certain"),
    ("b = Squeeze (a, axes)", "int64[0] axes = {}", "different things to different runtimes"),
    ("s = Unsqueeze (a, axis) t = ReduceSum (s, axis) b = Squeeze (t, axis)", "int64[1] axis = {1}",
     "turns -0.0 into 0.0"),
    ("s = Unsqueeze (a, axis) t = ReduceMean <axes = [1]> (s) b = Squeeze (t, axis)", "int64[1] axis = {1}",
     "turns -0.0 into 0.0"),
    ("r = Reshape (a, any) b = Where (yes, r, x)", "bool yes = {1}", "shape of 'r' is not certain"),
    ("b = Where (yes, a, x)", "bool yes = {1}", "turns -0.0 into 0.0"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "weights", "reason"), REFUSED)
def test_near_matches_are_refused_with_a_reason(node: str, weights: str, reason: str) -> None:
    inputs = "float[n,3] x, int64[2] any" if "any" in node else "float[n,3] x"
    graph = parse(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g ({inputs}) => (float[n,3] y) <{weights}> {{ a = Neg (x) {node} y = Neg (b) }}
    """)
    changed, ctx = run_pass(ELIMINATE, graph)
    assert not changed and any(reason in refusal.what for refusal in ctx.refusals), ctx.refusals


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        ("b = Reshape (a, shape)", "int64[2] shape = {3, -1}"),
        ("b = Reshape (a, shape)", "int64[3] shape = {0, 3, 1}"),
        ("b = Reshape <allowzero = 1> (a, shape)", "int64[2] shape = {0, 3}"),
        ("b = Expand (a, shape)", "int64[3] shape = {1, 1, 1}"),
        ("b = Expand (a, shape)", "int64[2] shape = {2, 3}"),  # n may be 1
        ("b = Transpose (a)", ""),
        ("b = Pad (a, pads)", "int64[4] pads = {0, 0, 0, 1}"),
        ("b = Slice (a, start, end)", "int64[2] start = {0, 0}, int64[2] end = {9223372036854775807, 2}"),
        ("b = Slice (a, start, end, axis, step)",
         "int64[1] start = {0}, int64[1] end = {9223372036854775807}, int64[1] axis = {0}, int64[1] step = {2}"),
        ("b = Slice (a, start, end)", "int64[1] start = {0}, int64[1] end = {0}"),
        ("b = Mul (a, one)", "float[1,1,1] one = {1}"),  # a dimension more
        ("b = Mul (a, one)", "float[2,3] one = {1, 1, 1, 1, 1, 1}"),  # n may be 1
        ("b = Mul (a, one)", "float[3] one = {1, 1, 2}"),
        ("b = Sub (zero, a)", "float zero = {0}"),
        ("b = Div (one, a)", "float one = {1}"),
        ("b = Concat <axis = 0> (a, a)", ""),
        ("b = Flatten <axis = 0> (a)", ""),
        ("b = Max (a, a)", ""),
        ("b = Gather <axis = 1> (a, some)", "int64[3] some = {0, 2, 1}"),
        ("b = Slice (a, start, end, axis, step)",  # as long as before, and backwards
         "int64[1] start = {-1}, int64[1] end = {-9}, int64[1] axis = {1}, int64[1] step = {-1}"),
        ("b = Pad (a, pads)", "int64[4] pads = {0, 1, 0, -1}"),
        ("b = Where (yes, a, x)", "bool[3] yes = {1, 0, 1}"),
        ("b = Where (yes, one, a)", "bool yes = {1}, float one = {1}"),
        ("b = ReduceMax <axes = [1]> (a)", ""),
        ("b = ReduceL1 <axes = [0], keepdims = 1> (a)", ""),
        ("b = Resize <coordinate_transformation_mode = \"tf_crop_and_resize\"> (a, roi, ones)",
         "float[4] roi = {0, 0, 0.5, 0.5}, float[2] ones = {1, 1}"),
        ("b = Resize <mode = \"linear\"> (a, , some)", "float[2] some = {1, 1.2}"),  # 3 x 1.2 is 3 too
    ],
)  # fmt: skip
def test_what_changes_values_or_shape_stays(node: str, weights: str) -> None:
    assert not run_pass(ELIMINATE, around(node, weights))[0]


def test_integers_have_no_absolute_value_for_the_smallest() -> None:
    graph = around("c = Abs (a) b = Relu (c)", data="int8[n,3]")
    graph.nodes[1].outputs[0].dtype = np.dtype(np.int8)
    assert not run_pass(ELIMINATE, graph)[0]


def test_value_infos_prove_nothing() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,m] x, int64[k] any) => (float[p,q] y) <int64[2] shape = {0, 3}> {
            a = Reshape (x, any) b = Reshape (a, shape) y = Neg (b)
        }
    """)
    graph.nodes[0].outputs[0].shape = [2, 3]
    assert not run_pass(ELIMINATE, graph)[0]


def test_in_a_function_declared_types_are_those_of_one_call_only() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x) => (float[2] y) { y = local.f (x) }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) { m = Neg (a) c = Cast <to = 1> (m) b = Neg (c) }
    """)
    graph.functions[0].nodes[0].outputs[0].dtype = np.dtype(np.float32)
    check_refusal(ELIMINATE, graph, "element type of 'm' is not known")


@pytest.mark.parametrize(
    ("signature", "body", "reason"),
    [
        ("(float[2] x) => (float[2] y)", "y = Identity (x)", "'y' is an output and 'x' an input"),
        ("(float[2] x) => (float[2] y, float[2] z)", "y = Neg (x) z = Identity (y)", "both outputs"),
        ("() => (float[2] y) <float[2] w = {1, 2}>", "y = Identity (w)", "'w' a constant"),
    ],
)
def test_an_output_keeps_its_name_or_its_node(signature: str, body: str, reason: str) -> None:
    check_refusal(ELIMINATE, parse(f'<ir_version: 8, opset_import: ["" : 17]> g {signature} {{ {body} }}'), reason)


def test_loop_state_that_passes_through_stays() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x, int64 n, bool c) => (float[2] y) {
            y = Loop (n, c, x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {
                t = Identity (s)
                so = Add (t, x)
                co = Identity (ci)
            }>
        }
    """)
    feeds = {"x": np.ones(2, np.float32), "n": np.array(3), "c": np.array(True)}
    ctx = check_pass(ELIMINATE, graph, feeds)
    assert [node.op for node in ir.every_node(graph)] == ["Loop", "Add", "Identity"]
    assert any("'co' is an output and 'ci' an input" in refusal.what for refusal in ctx.refusals)


def test_a_function_may_redefine_an_operator() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) { a = Neg (x) b = Identity (a) y = Neg (b) }
        <opset_import: ["" : 17], domain: ""> Identity (a) => (b) { b = Exp (a) }
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def test_an_operator_without_a_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no rule for 'Transpos'; did you mean Transpose\?"):
        EliminateIdentities(ops=("Transpos",))


def test_no_weight_of_a_large_model_is_read() -> None:
    weights = np.zeros(1 << 17, np.float32)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Sub", ["a", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1 << 17])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert not run_pass(ELIMINATE, ir.from_proto(model))[0]
