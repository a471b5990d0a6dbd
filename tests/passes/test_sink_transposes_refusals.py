"""What `sink-transposes` leaves alone, and the reasons it gives."""

from __future__ import annotations

import onnx
import pytest

from onnxopt import ir
from tests.passes.checks import check_pass, check_refusal, count_ops, parse, run_pass
from tests.passes.sink_models import SINK, between


@pytest.mark.parametrize(
    ("nodes", "weights", "reason"),
    [
        ("b = Softmax (a)", "", "its axis would no longer be the last one"),
        ("m = ReduceMean <axes = [-1]> (a) b = Sub (a, m)", "", "part of a normalization of the last axes"),
        ("c = Shape (a) b = Expand (a, c)", "", "it reads its shape as a whole"),
        ("b = Reshape (a, w)", "int64[3] w = {0, 2, -1}", "cuts across axes"),
        ("c = Neg (w) b = Tile (a, c)", "int64[3] w = {-1, -1, -2}", "has not one known number for each axis"),
        ("c = Neg (w) b = Pad (a, c)", "int64[6] w = {0, 0, 0, 0, 0, -1}", "its pads are computed at run time"),
        ("c = Squeeze (a) b = Relu (c)", "", "depends on the shape"),
        (
            "c = MatMul (a, w) b = Relu (c)",
            "float[4,4] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}",
            "multiplies the last two",
        ),
        ("c = Gather (a, w) b = Squeeze (c, z)", "int64[1,1] w = {0}, int64[1] z = {0}", "no scalar or vector"),
    ],
)
def test_refusals(nodes: str, weights: str, reason: str) -> None:
    graph = between(nodes, weights)
    changed, ctx = run_pass(SINK, graph)
    assert not changed and any(reason in refusal.what for refusal in ctx.refusals), ctx.refusals


def test_legacy_broadcasting_is_left_alone() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 6]>
        g (float[2,3] x, float[3,2] z) => (float[2,3] y) {
            a = Transpose <perm = [1, 0]> (x) b = Add (a, z) y = Transpose <perm = [1, 0]> (b)
        }
    """)
    changed, ctx = run_pass(SINK, graph)  # onnxruntime does not run it
    assert not changed and ctx.refusals[0].what == "opset 6 broadcasts its operands in another way"


def test_a_transpose_that_others_read_is_kept_where_moving_it_gains_nothing() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[3,2] y, float[3,2] z) {
            a = Transpose <perm = [1, 0]> (x) y = Relu (a) z = Neg (a)
        }
    """)
    check_refusal(SINK, graph, "as many would be needed")


@pytest.mark.parametrize("dtype", ["int4", "float8e4m3fn"])
def test_types_that_few_runtimes_transpose(dtype: str) -> None:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[2,3] x) => (float[2,3] y) <float scale = {{0.5}}, {dtype} zero = {{0}}> {{
            a = Transpose <perm = [1, 0]> (x) q = QuantizeLinear (a, scale, zero) d = DequantizeLinear (q, scale, zero)
            y = Transpose <perm = [1, 0]> (d)
        }}
    """)
    changed, ctx = run_pass(SINK, graph)
    assert not changed and "few of the types of under 8 bits" in ctx.refusals[-1].what


def test_the_shuffle_of_shufflenet_stays() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,6,4,4] x) => (float[2,6,4,4] y) <int64[5] s = {2, 2, 3, 4, 4}, int64[4] t = {2, 6, 4, 4}> {
            a = Reshape (x, s) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) c = Reshape (b, t) y = Relu (c)
        }
    """)
    check_refusal(SINK, graph, "it merges or splits axes that the Transpose tears apart")


ATTENTION = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[1,4,24] x) => (float[1,4,8] y)
    <int64[5] heads = {1, 4, 3, 2, 4}, int64[3] joined = {1, 4, 8}, float scale = {2}, int64[1] two = {2}> {
        split = Reshape (x, heads) q, k, v = Split <axis = 2> (split)
        q1 = Squeeze (q, two) q2 = Transpose <perm = [0, 2, 1, 3]> (q1)
        k1 = Squeeze (k, two) k2 = Transpose <perm = [0, 2, 3, 1]> (k1)
        v1 = Squeeze (v, two) v2 = Transpose <perm = [0, 2, 1, 3]> (v1)
        scores = MatMul (q2, k2) scaled = Div (scores, scale) weights = Softmax (scaled) mixed = MatMul (weights, v2)
        m1 = Transpose <perm = [0, 2, 1, 3]> (mixed) y = Reshape (m1, joined)
    }
"""


def test_attention_stays_as_engines_know_it() -> None:
    check_pass(SINK, parse(ATTENTION), expect_change=False)
    changed, ctx = run_pass(SINK, graph := parse(ATTENTION), target="qnn")  # has no such fusion
    assert changed and count_ops(graph)["Transpose"] == 3, ctx.refusals


def test_a_large_or_shared_constant_is_not_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.layout.region.LARGEST_CONSTANT", 3)
    check_refusal(
        SINK, between("b = Add (a, w)", "float[4] w = {1, 2, 3, 4}"), "'w' is large, and would be written anew"
    )
    monkeypatch.undo()
    monkeypatch.setattr("onnxopt.layout.region._LARGEST_SHARED", 3)
    graph = between("c = Relu (w) b = Add (a, w)", "float[4] w = {1, 2, 3, 4}")
    check_refusal(SINK, graph, "'w' has other readers, and the model would grow")


def test_an_input_with_a_default_is_no_constant() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, float[3,2] w = {1, 2, 3, 4, 5, 6}) => (float[2,3] y) {
            a = Transpose <perm = [1, 0]> (x) b = Add (a, w) c = Relu (b) y = Transpose <perm = [1, 0]> (c)
        }
    """)
    check_refusal(SINK, graph, "the rank of its operand 'w' is not certain")  # of what the caller gives instead


def test_a_tensor_whose_quantization_the_file_tells_by_name_stays() -> None:
    graph = between("b = Relu (a)")
    graph.quantization_annotation.append(onnx.TensorAnnotation(tensor_name="b"))
    assert not run_pass(SINK, graph)[0]


def test_operators_of_other_domains_and_overridden_ones_are_opaque() -> None:
    graph = parse("""
        <ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[2,3] x) => (float[2,3] y) {
            a = Transpose <perm = [1, 0]> (x) b = com.microsoft.Gelu (a) y = Transpose <perm = [1, 0]> (b)
        }
    """)
    assert not run_pass(SINK, graph)[0]


def test_nothing_is_done_that_is_not_allowed() -> None:
    graph = between("b = Relu (a)")
    before = ir.to_text(graph)
    changed, ctx = run_pass(SINK, graph, limit=0)
    assert not changed and not ctx.rewrites and ir.to_text(graph) == before


def test_a_tensor_that_very_many_read_is_left_in_its_layout() -> None:
    many = " ".join(f"r{index} = Relu (a)" for index in range(300))
    graph = between(f"{many} b = Neg (a)")
    changed, _ = run_pass(SINK, graph)
    assert not changed
