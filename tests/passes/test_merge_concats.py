"""`merge-concats`: what is joined and taken apart again, or taken apart and joined, is what it was."""

from __future__ import annotations

import pytest

from onnxopt import ir
from onnxopt.passes.merge_concats import MergeConcats
from tests.passes.bindings import check_at
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

MERGE = MergeConcats()
SIZES = ({"n": 2, "m": 5}, {"n": 3, "m": 4})


def model(body: str, weights: str = "int64 unused = {0}", *, opset: int = 17) -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[n,4] x, float[n,m] z) => (float[p,q] y) <{weights}> {{
            a = Neg (x) b = Exp (z) {body} y = Abs (c)
        }}
    """)


@pytest.mark.parametrize(
    ("body", "weights", "left"),
    [
        ("d = Concat <axis = 1> (a, b) e = Concat <axis = -1> (b, a) c = Concat <axis = 1> (d, a, e)", "",
         ["Concat"]),
        ("p, q = Split <axis = 1> (a) c = Concat <axis = -1> (p, q)", "", []),
        ("p, q = Split <axis = 1> (a, s) c = Concat <axis = 1> (b, p, q, b)", "int64[2] s = {1, 3}", ["Concat"]),
        ("p = Slice (a, i0, i2, i1) q = Slice (a, i2, big, i1) c = Concat <axis = 1> (p, q)",
         "int64[1] i0 = {0}, int64[1] i2 = {2}, int64[1] i1 = {1}, int64[1] big = {9999}", []),
        ("d = Concat <axis = 1> (a, b) k = Shape <start = 1, end = 2> (z) s = Concat <axis = 0> (four, k) "
         "p, q = Split <axis = 1> (d, s) c = Concat <axis = 1> (q, p)", "int64[1] four = {4}",
         ["Concat", "Shape", "Concat"]),
        ("d = Concat <axis = 1> (a, a) p, q = Split <axis = -1> (d) c = Mul (p, q)", "", ["Mul"]),
        ("d = Concat <axis = 1> (a, b) c = Slice (d, i0, i4, i1)",
         "int64[1] i0 = {0}, int64[1] i4 = {4}, int64[1] i1 = {1}", []),
        ("d = Concat <axis = 1> (a, b) c = Slice (d, i4, big, i1)",
         "int64[1] big = {9223372036854775807}, int64[1] i4 = {4}, int64[1] i1 = {-1}", []),
    ],
)  # fmt: skip
def test_joining_and_cutting_cancel(body: str, weights: str, left: list[str]) -> None:
    graph = model(body, weights or "int64 unused = {0}")
    check_at(MERGE, graph, *SIZES)
    assert sorted(op for op in ops(graph) if op not in ("Neg", "Exp", "Abs")) == sorted(left)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("p, q = Split <axis = 1> (a) c = Concat <axis = 1> (q, p)", ""),  # another order
        ("p, q = Split <axis = 1> (a) c = Concat <axis = 0> (p, q)", ""),  # another axis
        ("p, q = Split <axis = 1> (a, s) d, e = Split <axis = 1> (x, s) c = Concat <axis = 1> (p, e)",
         "int64[2] s = {1, 3}"),  # of two tensors
        ("p = Slice (a, i0, i2, i1) q = Slice (a, i1, big, i1) c = Concat <axis = 1> (p, q)",
         "int64[1] i0 = {0}, int64[1] i2 = {2}, int64[1] i1 = {1}, int64[1] big = {9999}"),  # one is there twice
        ("d = Concat <axis = 1> (a, a) p, q = Split <axis = 1> (d, s) c = Concat <axis = 1> (q, p)",
         "int64[2] s = {3, 5}"),  # other pieces
        ("d = Concat <axis = 0> (b, b) e = Concat <axis = 1> (d, d) c = Add (d, d)", ""),
        ("d = Concat <axis = 1> (a, b) c = Slice (d, i0, i1, i1)", "int64[1] i0 = {0}, int64[1] i1 = {1}"),
        ("d = Concat <axis = 1> (a, b) c = Slice (d, i0, i4, i1, i2)",
         "int64[1] i0 = {0}, int64[1] i4 = {4}, int64[1] i1 = {1}, int64[1] i2 = {2}"),
        ("d = Concat <axis = 1> (b, a) c = Slice (d, i0, i4, i1)",  # z may have 4 columns, and others
         "int64[1] i0 = {0}, int64[1] i4 = {4}, int64[1] i1 = {1}"),
    ],
)  # fmt: skip
def test_what_is_not_the_same_stays(body: str, weights: str) -> None:
    check_at(MERGE, model(body, weights or "int64 unused = {0}"), *SIZES, expect_change=False)


def test_an_inner_concat_of_other_readers_stays() -> None:
    graph = model("d = Concat <axis = 1> (a, b) e = Concat <axis = 1> (d, a) f, g = Split <axis = 1> (d, s) "
                  "c = Concat <axis = 1> (e, f)", "int64[2] s = {1, -1}")  # fmt: skip
    changed, _ = run_pass(MERGE, graph)
    assert changed and [op for op in ops(graph) if op == "Concat"] == ["Concat", "Concat"]


def test_outputs_keep_their_names() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,4] x) => (float[2,2] p, float[2,4] y, float[2,4] z) {
            a = Neg (x)
            p, q = Split <axis = 1> (a)
            y = Concat <axis = 1> (p, q)
            b = Concat <axis = 0> (a, x)
            z, w = Split <axis = 0> (b)
        }
    """)
    ctx = check_pass(MERGE, graph)
    assert ops(graph) == ["Neg", "Split", "Concat", "Split"]
    assert any("'z' and 'y' are both outputs" in refusal.what for refusal in ctx.refusals)


def test_two_outputs_of_the_same_empty_part() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x, float[0] e) => (float[0] p, float[0] q) <int64[3] s = {2, 0, 0}> {
            a = Neg (x) b = Abs (e) c = Concat <axis = 0> (a, b) r, p, q = Split <axis = 0> (c, s)
        }
    """)
    check_refusal(MERGE, graph, "'b' would be two outputs")


def test_golden_scopes() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x, bool c) => (float[n] y) {
            outer = Concat <axis = 0> (x, x)
            p = If (c) <
                then_branch = t () => (float[k] t1) { t1 = Concat <axis = 0> (outer, x) },
                else_branch = e () => (float[k] e1) {
                    l, h = Split <axis = 0> (x) e0 = Concat <axis = 0> (l, h) e1 = Abs (e0)
                }
            >
            y = local.f (p)
        }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {
            m = Concat <axis = 0> (a, a) n = Concat <axis = 0> (a, m) b = Concat <axis = 1> (n, n)
        }
    """)
    check_golden(MERGE, graph, "in branches and functions")


@pytest.mark.parametrize("limit", range(3))
def test_each_merge_is_one_rewrite(limit: int) -> None:
    graph = model("d = Concat <axis = 1> (a, b) e = Concat <axis = 1> (b, a) c = Concat <axis = 1> (d, e)")
    _, ctx = run_pass(MERGE, graph, limit=limit)
    assert len(ctx.rewrites) == limit and ops(graph).count("Concat") == 3 - limit
