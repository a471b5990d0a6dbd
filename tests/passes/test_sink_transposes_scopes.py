"""`sink-transposes` in subgraphs, loop bodies and functions."""

from __future__ import annotations

import numpy as np

from tests.passes.checks import check_pass, check_refusal, count_ops, parse, run_pass
from tests.passes.sink_models import EXACT, SINK


def test_subgraphs_are_scopes_of_their_own() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, bool c) => (float[2,3] y) {
            o = Transpose <perm = [1, 0]> (x)
            p = If (c) <
                then_branch = t () => (float[2,3] t1) { i = Relu (o) t1 = Transpose <perm = [1, 0]> (i) },
                else_branch = e () => (float[2,3] e1) {
                    j = Transpose <perm = [1, 0]> (o) k = Transpose <perm = [1, 0]> (j) l = Exp (k)
                    e1 = Transpose <perm = [1, 0]> (l)
                }
            >
            y = Neg (p)
        }
    """)
    for chosen in (True, False):
        feeds = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32), "c": np.array(chosen)}
        check_pass(EXACT, graph.copy(), feeds)
    run_pass(EXACT, graph)
    assert count_ops(graph)["Transpose"] == 3  # in each branch, what comes from outside is an input


def test_a_loop_body_is_a_scope() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, int64 n, bool c) => (float[2,3] y, float[k,3,2] s) {
            y, s = Loop (n, c, x) <body = b (int64 i, bool go, float[2,3] u) => (bool on, float[2,3] v, float[3,2] w) {
                on = Identity (go) t = Transpose <perm = [1, 0]> (u) w = Relu (t) e = Exp (w) f = Neg (e)
                v = Transpose <perm = [1, 0]> (f)
            }>
        }
    """)
    feeds = {
        "x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32),
        "n": np.array(3),
        "c": np.array(True),
    }
    check_pass(EXACT, graph, feeds)
    assert count_ops(graph)["Transpose"] == 1  # of `w`, which the Loop collects


def test_subgraphs_without_initializers_are_left_alone() -> None:
    text = """
        <ir_version: 3, opset_import: ["" : 9]>
        g (float[2,3] x, bool c) => (float[2,3] y) {
            y = If (c) <
                then_branch = t () => (float[2,3] t1) {
                    a = Transpose <perm = [1, 0]> (x) b = Relu (a) t1 = Transpose <perm = [1, 0]> (b)
                },
                else_branch = e () => (float[2,3] e1) { e1 = Exp (x) }
            >
        }
    """
    feeds = {"x": np.ones((2, 3), np.float32), "c": np.array(True)}
    check_pass(SINK, parse(text), feeds, expect_change=False)
    check_pass(SINK, parse(text.replace("ir_version: 3", "ir_version: 4")), feeds)


def test_functions() -> None:
    graph = parse("""
        <ir_version: 9, opset_import: ["" : 17, "local" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = local.f (x) }
        <opset_import: ["" : 17], domain: "local"> f (u) => (v) {
            a = Transpose <perm = [1, 0]> (u) b = Relu (a) c = Concat <axis = 0> (b, b)
            d = ReduceMax <axes = [0], keepdims = 1> (c) e = Sub (b, d) v = Transpose <perm = [1, 0]> (e)
        }
    """)
    check_pass(EXACT, graph)
    assert "Transpose" not in count_ops(graph)


def test_an_axis_that_the_caller_of_a_function_sets_is_not_known() -> None:
    graph = parse("""
        <ir_version: 9, opset_import: ["" : 17, "local" : 1]>
        g (float[2,3] x) => (float[2,6] y) { y = local.f <k = 0> (x) }
        <opset_import: ["" : 17], domain: "local"> f <k> (u) => (v) {
            a = Transpose <perm = [1, 0]> (u) b = Concat <axis: int = @k> (a, a) v = Transpose <perm = [1, 0]> (b)
        }
    """)
    check_refusal(SINK, graph, "its axis is not certain")
