"""`merge-casts` in local functions: a CastLike that changes nothing in any call goes."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.passes.merge_casts import MergeCasts
from tests.passes.checks import check_pass, check_refusal, parse

MERGE = MergeCasts()
HALF = """
    <domain: "local", opset_import: ["" : 17]>
    half (x) => (y) {
        c = Constant <value = float {0.5}> ()
        e = Abs (x)
        k = CastLike (c, e)
        y = Mul (k, x)
    }
"""


def model(body: str, inputs: str, outputs: str, functions: str = HALF) -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]> g ({inputs}) => ({outputs}) {{ {body} }} {functions}
    """)


def inner(graph: ir.Graph) -> list[str]:
    return [node.op for function in graph.functions for node in function.nodes]


def test_all_calls_give_the_same_type() -> None:
    graph = model("y = local.half (x) z = local.half (w)", "float[n] x, float[n] w", "float[n] y, float[n] z")
    feed = np.array([1, -2, np.nan], np.float32)
    check_pass(MERGE, graph, {"x": feed, "w": -feed})
    assert "CastLike" not in inner(graph)


def test_calls_that_give_different_types_keep_it() -> None:
    graph = model("y = local.half (x) z = local.half (w)", "float[n] x, double[n] w", "float[n] y, double[n] z")
    check_refusal(MERGE, graph, "do not agree on a type")


def test_another_type_than_the_constant_keeps_it() -> None:
    graph = model("y = local.half (x)", "double[n] x", "double[n] y")
    check_pass(MERGE, graph, {"x": np.array([1.0, -2.0])}, expect_change=False)


def test_through_a_function_that_calls_another() -> None:
    outer = (
        '<domain: "local", opset_import: ["" : 17, "local" : 1]> twice (x) => (y) { t = Neg (x) y = local.half (t) }'
    )
    graph = model("y = local.twice (x)", "float[n] x", "float[n] y", f"{HALF} {outer}")
    check_pass(MERGE, graph, {"x": np.array([1, -2], np.float32)})
    assert "CastLike" not in inner(graph)


def test_a_function_that_is_not_called_keeps_it() -> None:
    check_refusal(MERGE, model("y = Neg (x)", "float[n] x", "float[n] y"), "do not agree on a type")
