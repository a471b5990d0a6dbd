"""`merge-pads`: two Pads in a row are one, where what they add is the same."""

from __future__ import annotations

import pytest

from onnxopt import ir
from onnxopt.passes.merge_pads import MergePads
from tests.passes.bindings import check_at
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

MERGE = MergePads()
SIZES = ({"n": 2, "m": 5}, {"n": 1, "m": 3})


def padded(one: str, two: str, weights: str, *, between: str = "", opset: int = 18) -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[n,m] x) => (float[p,q] y) <{weights}> {{ a = Neg (x) b = {one} {between} c = {two} y = Abs (c) }}
    """)


MERGED = [
    ("Pad (a, s)", "Pad (b, t)", "int64[4] s = {1, 2, 3, 4}, int64[4] t = {0, 1, 0, 2}", [1, 3, 3, 6]),
    ("Pad (a, s, two)", "Pad (b, t, one)", "int64[4] s = {1, 2, 3, 4}, int64[4] t = {0, 1, 0, 2}, float two = {2}, "
     "float[1] one = {2}", [1, 3, 3, 6]),
    ("Pad (a, s)", "Pad (b, t, zero)", "int64[4] s = {1, 0, 0, 0}, int64[4] t = {0, 1, 0, 0}, float zero = {0}",
     [1, 1, 0, 0]),
    ("Pad <mode = \"edge\"> (a, s)", "Pad <mode = \"edge\"> (b, t)",
     "int64[4] s = {1, 2, 3, 4}, int64[4] t = {0, 1, 0, 2}", [1, 3, 3, 6]),
    ("Pad (a, s, , axis)", "Pad (b, t)", "int64[2] s = {1, 2}, int64[1] axis = {-1}, int64[4] t = {5, 0, 0, 1}",
     [5, 1, 0, 3]),
    ("Pad (a, s)", "Pad (b, t)", "int64[4] s = {0, -1, 0, 0}, int64[4] t = {0, 0, 0, -1}", [0, -1, 0, -1]),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two", "weights", "pads"), MERGED)
def test_pads_add_up(one: str, two: str, weights: str, pads: list[int]) -> None:
    graph = padded(one, two, weights)
    check_at(MERGE, graph, *SIZES)
    assert ops(graph) == ["Neg", "Pad", "Abs"] and graph.nodes[1].inputs[1].read().tolist() == pads


REFUSED = [
    ("Pad (a, s)", "Pad (b, s, two)", "float two = {2}", "different values"),
    ("Pad (a, s)", "Pad <mode = \"edge\"> (b, s)", "float two = {2}", "'constant' and 'edge' do not add up"),
    ("Pad <mode = \"reflect\"> (a, s)", "Pad <mode = \"reflect\"> (b, s)", "float two = {2}", "do not add up"),
    ("Pad (a, cut)", "Pad (b, s)", "int64[4] cut = {0, 0, 0, -1}", "one adds and the other cuts"),
    ("Pad (a, s)", "Pad (b, k)", "float two = {2}", "are not constant"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two", "weights", "reason"), REFUSED)
def test_near_matches_are_refused(one: str, two: str, weights: str, reason: str) -> None:
    between = "u = Shape (a) k = Concat <axis = 0> (u, u)" if "k)" in two else ""
    check_refusal(MERGE, padded(one, two, f"int64[4] s = {{1, 1, 1, 1}}, {weights}", between=between), reason)


def test_another_reader_keeps_the_first() -> None:
    graph = padded("Pad (a, s)", "Pad (b, s)", "int64[4] s = {1, 1, 1, 1}", between="d = Exp (b)")
    check_at(MERGE, graph, *SIZES, expect_change=False)


def test_older_opsets_have_attributes() -> None:
    one = "Pad <pads = [0, 1, 0, 1], value = 2.0> (a)"
    graph = padded(one, one.replace("(a)", "(b)"), "float unused = {0}", opset=9)
    assert run_pass(MERGE, graph)[0]
    assert graph.nodes[1].attrs["pads"] == [0, 2, 0, 2] and graph.nodes[1].attrs["value"] == 2.0


def test_golden_scopes() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2] x, bool c) => (float[n] y) <int64[2] s = {1, 0}> {
            outer = Pad (x, s)
            p = If (c) <
                then_branch = t () => (float[k] t1) { t1 = Pad (outer, s) },
                else_branch = e () => (float[k] e1) { e1 = Abs (x) }
            >
            y = local.f (p)
        }
        <opset_import: ["" : 18], domain: "local"> f (a) => (b) {
            k = Constant <value_ints = [0, 1]> () m = Pad (a, k) n = Pad (m, k) b = Pad (n, k)
        }
    """)
    check_golden(MERGE, graph, "in branches and functions")


def test_outputs_in_the_middle_stay() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[2] x) => (float[3] b, float[4] y) <int64[2] s = {1, 0}> { b = Pad (x, s) y = Pad (b, s) }
    """)
    check_pass(MERGE, graph, expect_change=False)


@pytest.mark.parametrize("limit", range(3))
def test_each_merge_is_one_rewrite(limit: int) -> None:
    graph = padded("Pad (a, s)", "Pad (d, s)", "int64[4] s = {0, 1, 0, 0}", between="d = Pad (b, s)")
    _, ctx = run_pass(MERGE, graph, limit=limit)
    assert len(ctx.rewrites) == limit and ops(graph).count("Pad") == 3 - limit
