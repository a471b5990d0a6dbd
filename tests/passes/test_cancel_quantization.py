"""`cancel-quantization`: what a DequantizeLinear undoes and a QuantizeLinear does again; never a real quantization."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass
from tests.passes.quantization_models import CANCEL, HEAD, WEIGHTS, X, model, quantized


def test_golden() -> None:
    graph = model("""
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        q2 = QuantizeLinear (d, s2, z2)
        d2 = DequantizeLinear (q2, s, z)
        t = Transpose <perm = [0, 2, 1]> (d2)
        r = Reshape (t, shape)
        q3 = QuantizeLinear (r, s, z)
        d3 = DequantizeLinear (q3, s, z)
        a = Abs (d3)
        q4 = QuantizeLinear (a, other, z)
        d4 = DequantizeLinear (q4, other, z)
        q5 = QuantizeLinear (d4, s, z)
        y = DequantizeLinear (q5, s, z)
    """)
    check_golden(CANCEL, graph, "a pair twice, one over nodes that move data, and a requantization that stays")


def test_a_pair_twice_is_one_pair() -> None:
    graph = quantized("m = Identity (d)")
    graph = model("""
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
        p = QuantizeLinear (d, s2, z2) y = DequantizeLinear (p, s2, z2)
    """)
    check_pass(CANCEL, graph, {"x": X})
    assert ops(graph) == ["QuantizeLinear", "DequantizeLinear"]


def test_one_pair_alone_rounds_and_stays() -> None:
    graph = model("q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)")
    ctx = check_pass(CANCEL, graph, {"x": X}, expect_change=False)
    assert not ctx.refusals


def test_the_first_dequantization_stays_for_others_that_read_it() -> None:
    graph = model("""
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) a = Abs (d)
        p = QuantizeLinear (d, s2, z2) e = DequantizeLinear (p, s2, z2) y = Add (a, e)
    """)
    check_pass(CANCEL, graph, {"x": X})
    assert ops(graph) == ["QuantizeLinear", "DequantizeLinear", "Abs", "DequantizeLinear", "Add"]


@pytest.mark.parametrize(
    "between",
    [
        "m = Transpose <perm = [2, 0, 1]> (d)",
        "m = Reshape (d, shape)",
        "e = Flatten (d) m = Reshape (e, shape)",
        "e = Unsqueeze (d, one) m = Squeeze (e, one)",
        "m = Gather <axis = 2> (d, two)",
        "m = Slice (d, one, two, two)",
        "m = Identity (d)",
        "m = MaxPool <kernel_shape = [3], pads = [1, 1]> (d)",
        "m = Tile (d, shape)",
        "e = Slice (d, one, two, one) w = Constant <value = int64[3] {2, 5, 4}> () m = Expand (e, w)",
        """sc4 = Constant <value = float[3] {1.0, 2.0, 2.0}> ()
           m = Resize <mode = "nearest", nearest_mode = "floor"> (d, , sc4)""",
    ],
)
def test_over_nodes_that_move_data(between: str) -> None:
    graph = quantized(between)
    check_pass(CANCEL, graph, {"x": X})
    assert ops(graph).count("QuantizeLinear") == ops(graph).count("DequantizeLinear") == 1


def test_over_a_concat_of_equal_quantizations() -> None:
    text = """
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) n = Neg (x)
        r = QuantizeLinear (n, {scale}, z) e = DequantizeLinear (r, {scale}, z) c = Concat <axis = 1> (d, e)
        p = QuantizeLinear (c, s, z) y = DequantizeLinear (p, s, z)
    """
    graph = model(text.format(scale="s2"))
    check_pass(CANCEL, graph, {"x": X})
    assert ops(graph) == ["QuantizeLinear", "Neg", "QuantizeLinear", "Concat", "DequantizeLinear"]
    check_refusal(CANCEL, model(text.format(scale="other")), "the scales differ")


def test_values_inside_are_declared_as_the_integers_that_they_are() -> None:
    graph = parse(f"""
        {HEAD} g (float[2, 3, 4] x) => (float[4, 3, 2] y) <{WEIGHTS}, float[4, 3, 2] m> {{
            q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) m = Transpose (d)
            p = QuantizeLinear (m, s2, z2) y = DequantizeLinear (p, s2, z2)
        }}
    """)
    check_pass(CANCEL, graph, {"x": X})
    assert graph.nodes[1].outputs[0].dtype == np.uint8


def test_the_axis_of_the_scales_follows_a_transpose() -> None:
    def per_axis(before: int, after: int, between: str) -> ir.Graph:
        return model(f"""
            q = QuantizeLinear <axis = {before}> (x, sc, zc) d = DequantizeLinear <axis = {before}> (q, sc, zc)
            m = {between} (d)
            p = QuantizeLinear <axis = {after}> (m, sc, zc) y = DequantizeLinear <axis = {after}> (p, sc, zc)
        """)

    for before, after in ((1, 2), (-2, 2)):
        graph = per_axis(before, after, "Transpose <perm = [0, 2, 1]>")
        check_pass(CANCEL, graph, {"x": X})
        assert ops(graph) == ["QuantizeLinear", "Transpose", "DequantizeLinear"]
    check_refusal(CANCEL, per_axis(1, 1, "MaxPool <kernel_shape = [1]>"), "may move the axis")


def test_refuses_an_axis_that_ends_elsewhere() -> None:
    graph = parse(f"""
        {HEAD} g (float[3, 3] x) => (float[3, 3] y) <float[3] s = {{0.1, 0.2, 0.3}}> {{
            q = QuantizeLinear <axis = 0> (x, s) d = DequantizeLinear <axis = 0> (q, s)
            p = QuantizeLinear <axis = 1> (d, s) y = DequantizeLinear <axis = 1> (p, s)
        }}
    """)
    check_refusal(CANCEL, graph, "the axis of its scales is 0 here, and the one wanted is 1")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("p = QuantizeLinear (d, other, z) y = DequantizeLinear (p, other, z)", "the scales differ"),
        ("p = QuantizeLinear (d, s, zero) y = DequantizeLinear (p, s, zero)", "the zero points differ"),
        ("p = QuantizeLinear (d, s) y = DequantizeLinear (p, s)", "the zero points differ"),
        ("k = Abs (s) p = QuantizeLinear (d, k, z) y = DequantizeLinear (p, k, z)", "is not a constant"),
        (
            "p = QuantizeLinear (d, s, i) y = DequantizeLinear (p, s, i)",
            "the integers are uint8 before, int8 after",
        ),
        (
            """a = Transpose (d) b = Abs (d) k = ReduceSum <keepdims = 0> (b) p = QuantizeLinear (a, s, z)
               e = DequantizeLinear (p, s, z) y = Add (e, k)""",
            "'d' is read elsewhere too",
        ),
        (
            """r = Constant <value = float[3] {1.0, 2.0, 2.0}> () a = Resize <mode = "linear"> (d, , r)
               p = QuantizeLinear (a, s, z) y = DequantizeLinear (p, s, z)""",
            "computes values between",
        ),
    ],
)
def test_refusals(second: str, reason: str) -> None:
    graph = model(f"q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) {second}")
    if "Resize" in second:
        graph = parse(ir.to_text(graph).replace('"" : 17', '"" : 17'))
        changed, ctx = run_pass(CANCEL, graph)
        assert not changed and any(reason in refusal.what for refusal in ctx.refusals)
    else:
        check_refusal(CANCEL, graph, reason)


def test_a_graph_output_keeps_its_name() -> None:
    graph = model(
        """
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) t = Transpose (d) p = QuantizeLinear (t, s, z)
    """,
        "uint8[4, 3, 2] p",
    )
    check_pass(CANCEL, graph, {"x": X})
    assert ops(graph) == ["QuantizeLinear", "Transpose"] and graph.nodes[1].outputs[0].name == "p"


def test_refuses_to_give_an_input_out() -> None:
    graph = parse(f"""
        {HEAD} g (uint8[4] q) => (uint8[4] p) <float s = {{0.1}}, uint8 z = {{7}}>
        {{ d = DequantizeLinear (q, s, z) p = QuantizeLinear (d, s, z) }}
    """)
    check_refusal(CANCEL, graph, "an output needs a node")


def test_a_value_in_the_middle_that_is_an_output_is_no_match() -> None:
    graph = model(
        """
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) t = Transpose (d)
        p = QuantizeLinear (t, s, z) y = DequantizeLinear (p, s, z)
    """,
        "float[4, 3, 2] y, float[4, 3, 2] t",
    )
    check_pass(CANCEL, graph, {"x": X}, expect_change=False)


def test_in_subgraphs_and_functions() -> None:
    graph = parse(f"""
        {HEAD} g (float[2, 3, 4] x, bool c) => (float[2, 3, 4] y) <{WEIGHTS}> {{
            q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
            v = If (c) <
                then_branch = t () => (float[2, 3, 4] t1) {{
                    p = QuantizeLinear (d, s, z) t1 = DequantizeLinear (p, s, z)
                }},
                else_branch = e () => (float[2, 3, 4] e1) {{ e1 = Neg (d) }}
            >
            y = local.f (v)
        }}
        <opset_import: ["" : 17], domain: "local"> f (x) => (y) {{
            s = Constant <value_float = 0.5> () z = Constant <value = uint8 {{9}}> ()
            q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) m = Identity (d)
            p = QuantizeLinear (m, s, z) y = DequantizeLinear (p, s, z)
        }}
    """)
    for value in (False, True):
        check_pass(CANCEL, graph.copy(), {"x": X, "c": np.array(value)})
    run_pass(CANCEL, graph)
    assert [node.op for node in ir.every_node(graph)].count("QuantizeLinear") == 2


def test_opset_10_and_its_pools() -> None:
    text = """
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) m = MaxPool <kernel_shape = [2]> (d)
        p = QuantizeLinear (m, s, z) y = DequantizeLinear (p, s, z)
    """
    check_refusal(
        CANCEL, model(text, head='<ir_version: 5, opset_import: ["" : 10]>'), "MaxPool takes no uint8 in opset 10"
    )
    graph = model(
        text.replace("MaxPool <kernel_shape = [2]>", "Transpose"), head='<ir_version: 5, opset_import: ["" : 10]>'
    )
    check_pass(CANCEL, graph, {"x": X})


def test_symbolic_dimensions_at_two_bindings() -> None:
    for size in (1, 3):
        graph = parse(f"""
            {HEAD} g (float[n, 2] x) => (float[2, n] y) <float s = {{0.1}}, uint8 z = {{1}}> {{
                q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) t = Transpose (d)
                p = QuantizeLinear (t, s, z) y = DequantizeLinear (p, s, z)
            }}
        """)
        check_pass(CANCEL, graph, {"x": np.ones((size, 2), np.float32)})
