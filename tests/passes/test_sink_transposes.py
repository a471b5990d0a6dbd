"""`sink-transposes`: fewer Transposes, or smaller ones, and never a node more."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.pipeline.base import Preserves
from tests.passes.checks import (
    assert_equal_outputs,
    check_golden,
    check_pass,
    check_refusal,
    count_ops,
    parse,
    run,
    run_pass,
)
from tests.passes.nhwc_models import nhwc_model
from tests.passes.sink_models import EXACT, SINK, between

NHWC_BLOCK = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[n,8,8,3] x) => (float[n,8,8,4] y) <float[4,3,1,1] w, float[4,4,1,1] v, float[4] b = {1, 2, 3, 4}> {
        [a] a = Transpose <perm = [0, 3, 1, 2]> (x)
        [conv] c = Conv (a, w)
        [d] d = Transpose <perm = [0, 2, 3, 1]> (c)
        [bias] e = Add (d, b)
        [relu] f = Relu (e)
        [h] h = Transpose <perm = [0, 3, 1, 2]> (f)
        [conv2] i = Conv (h, v)
        [j] j = Transpose <perm = [0, 2, 3, 1]> (i)
        [sum] y = Add (j, f)
    }
"""


def nhwc_block() -> ir.Graph:
    model = onnx.parser.parse_model(NHWC_BLOCK.replace("float[4,3,1,1] w, float[4,4,1,1] v, ", ""))
    rng = np.random.default_rng(0)
    for name, shape in (("w", (4, 3, 1, 1)), ("v", (4, 4, 1, 1))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    return ir.from_proto(model)


def test_golden() -> None:
    check_golden(SINK, nhwc_block(), "a residual block that was NHWC")
    check_golden(SINK, between("c = Concat <axis = 2> (a, a) b = Softmax <axis = 1> (c)"), "axes follow")


def test_a_block_of_nhwc_keeps_what_its_interface_asks_for() -> None:
    graph = nhwc_block()
    ctx = check_pass(SINK, graph)
    assert count_ops(graph) == {"Transpose": 2, "Conv": 2, "Add": 2, "Relu": 1}
    assert [rewrite.what for rewrite in ctx.rewrites] == ["moved past 3 nodes: of 3 Transposes 1 is left"]


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_network_that_was_nhwc_keeps_one(dynamic: bool, quantized: bool) -> None:
    graph = ir.from_proto(nhwc_model(2, dynamic=dynamic, quantized=quantized))
    assert count_ops(graph)["Transpose"] == 22
    check_pass(SINK, graph)
    assert count_ops(graph)["Transpose"] == 1


MOVABLE = [
    ("b = Relu (a)", ""),
    ("c = Cast <to = 6> (a) b = Cast <to = 1> (c)", ""),
    ("b = Clip (a, low, high)", "float low = {-1}, float high = {1}"),
    ("b = Dropout (a)", ""),
    ("b = Add (a, w)", "float[4] w = {1, 2, 3, 4}"),
    ("b = Mul (w, a)", "float[5,1] w = {1, 2, 3, 4, 5}"),
    ("b = Sub (a, w)", "float w = {2}"),
    ("w = Constant <value = float[4] {1, 2, 3, 4}> () b = Div (a, w)", ""),
    ("c = Exp (a) b = Add (a, c)", ""),
    ("c = Greater (a, w) b = Where (c, a, w)", "float w = {0}"),
    ("b = PRelu (a, w)", "float[5,1] w = {1, 2, 3, 4, 5}"),
    ("b = Concat <axis = 1> (a, a)", ""),
    ("c, d = Split <axis = -2> (a, w) b = Add (c, w1) e = Neg (d)", "int64[2] w = {2, 3}, float w1 = {1}"),
    ("b = Slice (a, w, e, x1)", "int64[1] w = {1}, int64[1] e = {3}, int64[1] x1 = {-1}"),
    ("b = Slice (a, w, e)", "int32[2] w = {0, 1}, int32[2] e = {9, 3}"),
    ("b = Pad (a, w)", "int64[6] w = {0, 1, 0, 0, 0, 2}"),
    ("b = Tile (a, w)", "int64[3] w = {1, 2, 3}"),
    ("c = Unsqueeze (a, w) d = Expand (c, s1) b = ReduceMax <axes = [1], keepdims = 0> (d)",
     "int64[1] w = {1}, int64[4] s1 = {1, 2, 1, 1}"),
    ("b = ReduceMax <axes = [1]> (a)", ""),
    ("b = CumSum (a, w)", "int64 w = {1}"),
    ("b = Gather <axis = 2> (a, w)", "int64[2] w = {3, 0}"),
    ("q = QuantizeLinear (a, w) b = DequantizeLinear (q, w)", "float w = {0.5}"),
    ("q = QuantizeLinear <axis = 2> (a, w, z) b = DequantizeLinear <axis = 2> (q, w, z)",
     "float[4] w = {0.5, 0.25, 1, 2}, int8[4] z = {0, 1, 2, 3}"),
    ("b, i = TopK <axis = 1> (a, w)", "int64[1] w = {2}"),
    ("b = Reshape (a, w)", "int64[3] w = {0, 5, 4}"),
    ("c = Unsqueeze (a, w) d = BatchNormalization (c, s1, s1, s1, s1) b = Squeeze (d, w)",
     "int64[1] w = {1}, float[1] s1 = {2}"),
    ("i = ArgMax <axis = 1, keepdims = 1> (a) c = Cast <to = 1> (i) b = Add (a, c)", ""),
    ("c = Gather <axis = 1> (a, w) d = Unsqueeze (c, s1) b = Max (d, a)", "int64 w = {1}, int64[1] s1 = {1}"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "weights"), MOVABLE, ids=[nodes.split(" (")[0][:40] for nodes, _ in MOVABLE])
def test_it_moves_past(nodes: str, weights: str) -> None:
    graph = between(nodes, weights)
    check_pass(EXACT, graph)
    assert "Transpose" not in count_ops(graph)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ("b = Softmax <axis = 1> (a)", ""),
        ("b = ReduceMean <axes = [1]> (a)", ""),
        ("b = ReduceSum (a, w)", "int64[1] w = {1}"),
        ("b = LogSoftmax <axis = -2> (a)", ""),
        ("b = Sin (a)", ""),
    ],
)
def test_last_bits_may_change_unless_asked_not_to(nodes: str, weights: str) -> None:
    graph = between(nodes, weights)
    check_refusal(EXACT, graph, "whose order may change|place in memory")
    check_pass(SINK, graph)
    assert "Transpose" not in count_ops(graph)


@pytest.mark.parametrize(
    ("opset", "nodes"),
    [
        (9, "b = Slice <starts = [1], ends = [3], axes = [1]> (a)"),
        (9, "b = Slice <starts = [0, 1], ends = [9, 3]> (a)"),
        (7, "b = Pad <pads = [0, 1, 0, 0, 0, 2]> (a)"),
        (9, "c = Unsqueeze <axes = [0]> (a) d = Relu (c) b = Squeeze <axes = [0]> (d)"),
        (11, "b = ReduceMin <axes = [-1]> (a)"),
        (12, "c, d = Split <axis = 1, split = [2, 3]> (a) b = Concat <axis = 1> (d, c)"),
    ],
)
def test_older_opsets_give_axes_as_attributes(opset: int, nodes: str) -> None:
    graph = between(nodes, opset=opset)
    check_pass(EXACT, graph)
    assert "Transpose" not in count_ops(graph)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ("b = ReduceMax (a, w)", "int64[1] w = {-1}"),
        ("b = Pad (a, w, v, x1)", "int64[2] w = {1, 1}, float v = {0}, int64[1] x1 = {1}"),
    ],
)
def test_newer_opsets_give_axes_as_inputs(nodes: str, weights: str) -> None:
    graph = between(nodes, weights, opset=18)
    check_pass(EXACT, graph)
    assert "Transpose" not in count_ops(graph)


def test_an_output_in_the_middle_keeps_its_layout_and_name() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[3,2] m, float[2,3] y) {
            a = Transpose <perm = [1, 0]> (x) m = Relu (a) b = Neg (m) y = Transpose <perm = [1, 0]> (b)
        }
    """)
    check_pass(SINK, graph)
    assert count_ops(graph) == {"Relu": 1, "Neg": 1, "Transpose": 1}
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[3,2] m, float[3,2] y) {
            a = Transpose <perm = [1, 0]> (x) m = Relu (a) y = Neg (m)
        }
    """)
    check_refusal(SINK, graph, "as many would be needed")


def test_two_outputs_of_one_tensor_both_keep_their_names() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[2,3] y, float[2,3] z) {
            a = Transpose <perm = [1, 0]> (x) b = Relu (a)
            y = Transpose <perm = [1, 0]> (b) z = Transpose <perm = [1, 0]> (b)
        }
    """)
    check_pass(SINK, graph)
    assert count_ops(graph) == {"Relu": 1, "Identity": 1}


def test_one_above_a_split_does_for_those_below_it() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,6] x) => (float[6,2] y) {
            a, b, c = Split <axis = 1> (x)
            d = Transpose <perm = [1, 0]> (a) e = Transpose <perm = [1, 0]> (b) f = Transpose <perm = [1, 0]> (c)
            y = Concat <axis = 0> (f, d, e)
        }
    """)
    check_pass(EXACT, graph)
    assert count_ops(graph) == {"Split": 1, "Transpose": 1, "Concat": 1}


def test_after_a_reduction_there_is_less_to_move() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3,4] x) => (float[4,2] y) {
            a = Transpose <perm = [2, 1, 0]> (x) y = ReduceMax <axes = [1], keepdims = 0> (a)
        }
    """)
    ctx = check_pass(EXACT, graph)
    assert [node.op for node in graph.nodes] == ["ReduceMax", "Transpose"]
    assert (
        ctx.rewrites[0].what
        == "moved past 1 node, where it moves fewer elements or parts no nodes that belong together"
    )


def test_gemm_transposes_its_matrices_itself() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[3,2] x, float[5,3] w) => (float[2,5] y) {
            a = Transpose <perm = [1, 0]> (x) b = Transpose (w) y = Gemm <transA = 0> (a, b)
        }
    """)
    check_pass(SINK, graph)
    assert count_ops(graph) == {"Gemm": 1} and graph.nodes[0].attrs == {"transA": 1, "transB": 1}


def test_a_batch_of_matrices_may_stand_in_any_order() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[t,n,3] x) => (float[t,n,2] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, 2}> {
            a = Transpose <perm = [1, 0, 2]> (x) c = MatMul (a, w) d = Add (c, b) y = Transpose <perm = [1, 0, 2]> (d)
        }
    """)
    check_pass(SINK, graph)
    assert count_ops(graph) == {"MatMul": 1, "Add": 1}


def test_single_dimensions_of_a_shape_are_picked_elsewhere() -> None:
    graph = between("c = Shape (a) d = Gather (c, w) f = Cast <to = 1> (d) b = Add (a, f)", "int64 w = {1}")
    check_pass(EXACT, graph)
    assert "Transpose" not in count_ops(graph)


def test_nodes_that_engines_compute_as_one_are_not_parted() -> None:
    """The Transpose that is left stands behind LayerNormalization: onnxruntime fuses it with the Add."""
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[t,n,2] x) => (float[t,n,2] y, float[n,t,2] z) <float[2] w = {1, 2}> {
            s = Transpose <perm = [1, 0, 2]> (x) a = Relu (s) b = Transpose <perm = [1, 0, 2]> (a)
            c = Neg (b) d = Transpose <perm = [1, 0, 2]> (c) e = Add (a, d)
            f = LayerNormalization (e, w) z = Neg (f) y = Identity (x)
        }
    """)
    check_pass(SINK, graph)
    assert [node.op for node in graph.nodes if node.op != "Identity"] == [
        "Relu", "Neg", "Add", "LayerNormalization", "Transpose", "Neg",
    ]  # fmt: skip


def test_quantized_values_stay_beside_their_q_and_dq() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,3] x) => (float[1,3,1,1] y) <float scale = {0.5}> {
            r = Neg (x) q = QuantizeLinear (r, scale) d = DequantizeLinear (q, scale)
            t = Transpose <perm = [0, 3, 1, 2]> (d) y = GlobalMaxPool (t)
        }
    """)
    check_pass(EXACT, graph)
    assert [node.op for node in graph.nodes] == [
        "Transpose", "Neg", "QuantizeLinear", "DequantizeLinear", "GlobalMaxPool",
    ]  # fmt: skip


def test_what_only_moves_axes_of_length_1_needs_no_transpose_before_a_reshape() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,3,8,8] x) => (float[n,3] y) <int64[2] s = {-1, 3}> {
            a = GlobalMaxPool (x) b = Transpose <perm = [0, 2, 3, 1]> (a) y = Reshape (b, s)
        }
    """)
    check_pass(EXACT, graph)
    assert count_ops(graph) == {"GlobalMaxPool": 1, "Reshape": 1}


@pytest.mark.parametrize("sizes", [(2, 3), (1, 5)])
def test_whole_axes_are_merged_in_the_other_layout(sizes: tuple[int, int]) -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,m,2,6] x) => (float[n,12,m] y) <int64[3] s = {0, -1, 12}> {
            r = Relu (x) a = Transpose <perm = [0, 2, 3, 1]> (r) b = Transpose <perm = [0, 3, 1, 2]> (a)
            c = Reshape (b, s) d = Neg (c) y = Transpose <perm = [0, 2, 1]> (d)
        }
    """)
    feeds = {"x": np.random.default_rng(0).normal(size=(*sizes, 2, 6)).astype(np.float32)}
    check_pass(EXACT, graph, feeds)


def test_an_operand_of_fewer_dimensions_is_moved_with_its_own_axes() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3,4] x, float[4] z) => (float[3,2,4] y, float[4,3,2] w) {
            a = Transpose <perm = [1, 0, 2]> (x) b = Add (a, z) y = Relu (b)
            c = Transpose <perm = [1, 0, 2]> (b) d = Sub (c, z) e = Transpose <perm = [2, 1, 0]> (d)
            w = Neg (e)
        }
    """)
    check_pass(EXACT, graph)


def test_symbolic_dimensions_hold_at_any_size() -> None:
    model = nhwc_model(1)
    graph = ir.from_proto(model)
    run_pass(SINK, graph)
    after = ir.to_proto(graph)
    assert after.graph.input == model.graph.input and after.graph.output == model.graph.output
    for size in (1, 3):
        feeds = {"image": np.random.default_rng(size).normal(size=(size, 8, 8, 3)).astype(np.float32)}
        assert_equal_outputs(run(model, feeds), run(after, feeds), Preserves.VALUES)
