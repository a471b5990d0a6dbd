"""`merge-reshapes`: Reshape, Squeeze, Unsqueeze and Flatten in a row are one node, or none."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.merge_reshapes import MergeReshapes
from tests.passes.bindings import check_at
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass
from tests.passes.reshape_models import MERGE, SIZES, between, target

MERGED = [
    ("r = Reshape (a, s) b = Reshape (r, t)", "int64[2] s = {-1, 4}, int64[3] t = {6, -1, 2}", ("Reshape", [6, -1, 2])),
    ("r = Reshape (a, s) b = Reshape (r, t)", "int64[3] s = {0, -1, 4}, int64[2] t = {0, -1}", ("Reshape", [0, -1])),
    ("r = Reshape (a, s) b = Reshape (r, t)", "int64[2] s = {-1, 12}, int64[3] t = {-1, 0, 1}",
     ("Reshape", [-1, 12, 1])),
    ("r = Flatten <axis = 0> (a) b = Reshape (r, t)", "int64[2] t = {-1, 3}", ("Reshape", [-1, 3])),
    ("r = Flatten <axis = 3> (a) b = Flatten (r)", "", ("Reshape", [-1, 4])),
    ("r = Reshape (a, s) b = Unsqueeze (r, t)", "int64[2] s = {-1, 12}, int64[1] t = {-1}", ("Reshape", [-1, 12, 1])),
    ("r = Unsqueeze (a, s) b = Unsqueeze (r, t)", "int64[1] s = {0}, int64[1] t = {0}", ("Unsqueeze", [0, 1])),
    ("r = Unsqueeze (a, s) b = Unsqueeze (r, t)", "int64[1] s = {-1}, int64[1] t = {1}", ("Unsqueeze", [1, 5])),
    ("r = Unsqueeze (a, s) b = Unsqueeze (r, t)", "int64[2] s = {0, 3}, int64[2] t = {-2, 1}",
     ("Unsqueeze", [0, 1, 4, 6])),
    ("r = Reshape (a, s) b = Squeeze (r, t)", "int64[3] s = {-1, 1, 4}, int64[1] t = {1}", ("Reshape", [-1, 4])),
]  # fmt: skip


@pytest.mark.parametrize(("body", "weights", "expected"), MERGED)
def test_two_in_a_row_become_one(body: str, weights: str, expected: tuple[str, list[int]]) -> None:
    graph = between(body, weights)
    check_at(MERGE, graph, *SIZES)
    assert target(graph) == expected


CANCELLED = [
    ("r = Unsqueeze (a, s) b = Squeeze (r, s)", "int64[2] s = {1, -1}"),
    ("r = Unsqueeze (a, s) b = Squeeze (r, t)", "int64[2] s = {1, -1}, int64[2] t = {5, 1}"),
    ("r = Reshape (a, s) b = Reshape (r, t)", "int64[4] s = {0, 0, 0, 4}, int64[4] t = {-1, 3, 0, 4}"),
    ("r = Reshape (a, s) b = Reshape (r, t)", "int64[5] s = {0, 3, -1, 2, 2}, int64[4] t = {0, 0, 0, 4}"),
    ("r = Flatten <axis = 2> (a) q = Unsqueeze (r, s) b = Reshape (q, t)",
     "int64[1] s = {0}, int64[4] t = {-1, 3, 5, 4}"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "weights"), CANCELLED)
def test_what_changes_nothing_together_goes(body: str, weights: str) -> None:
    graph = between(body, weights, data="float[n,3,5,4]")
    check_at(MERGE, graph, {"n": 2}, {"n": 1})
    assert ops(graph) == ["Neg", "Abs"]


def test_a_flatten_of_more_dimensions_than_there_are_before_is_spelled_anew() -> None:
    graph = between("r = Unsqueeze (a, s) b = Flatten <axis = 5> (r)", "int64[2] s = {0, 1}", data="float[2,3,5,4]")
    check_pass(MERGE, graph)
    assert target(graph) == ("Reshape", [30, 4])


def test_squeezed_axes_are_known_to_be_one() -> None:
    graph = between("r = Squeeze (a, s) b = Reshape (r, t)", "int64[1] s = {2}, int64[2] t = {0, 12}")
    check_at(MERGE, graph, {"n": 2, "m": 1})
    assert target(graph) == ("Reshape", [0, 12])
    graph = between("r = Squeeze (a, s) q = Unsqueeze (r, s) b = Flatten (q)", "int64[1] s = {2}")
    check_at(MERGE, graph, {"n": 2, "m": 1})
    assert target(graph) == ("Flatten", [])


@pytest.mark.parametrize(
    ("one", "two", "merged"), [([0], [0], [0, 1]), ([1], [0], [0, 1]), ([0, 2], [1], [0, 2, 3]), ([-1], [-1], [3, 4])]
)
def test_squeezes(one: list[int], two: list[int], merged: list[int]) -> None:
    listed = [f"int64[{len(axes)}] {name} = {{{', '.join(map(str, axes))}}}" for name, axes in (("s", one), ("t", two))]
    shape = [7] * 5
    for axis in merged:
        shape[axis] = 1
    data = f"float[{','.join('n' if dim == 7 else str(dim) for dim in shape)}]"
    graph = between("r = Squeeze (a, s) b = Squeeze (r, t)", ", ".join(listed), data=data)
    check_at(MERGE, graph, {"n": 2}, {"n": 1})
    assert target(graph) == ("Squeeze", merged)


REFUSED = [
    ("r = Flatten (a) b = Unsqueeze (r, t)", "int64[1] t = {2}", "float[n,3,m,4]",
     "a dimension that may be 0 would stand beside a -1"),
    ("r = Squeeze (a, s) b = Unsqueeze (r, t)", "int64[1] s = {0}, int64[1] t = {-1}", "float[1,n,m]",
     "more than one of its dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "weights", "data", "reason"), REFUSED)
def test_near_matches_are_refused(body: str, weights: str, data: str, reason: str) -> None:
    check_refusal(MERGE, between(body, weights, data=data), reason)


def test_an_empty_batch_stays_one() -> None:
    """A Reshape to (0, -1) would fail where the batch is empty; runtimes cannot tell the -1 then."""
    graph = between("r = Flatten (a) b = Unsqueeze (r, t)", "int64[1] t = {2}", data="float[n,3,2]")
    check_at(MERGE, graph, {"n": 0}, {"n": 2})
    assert target(graph) == ("Reshape", [0, 6, 1])


def test_a_rank_that_is_not_known_is_not_needed_for_axes_from_the_front() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[6] x, int64[r] any) => (float[i,j,k] y) <int64[1] s = {0}, int64[1] t = {1}> {
            a = Reshape (x, any) b = Unsqueeze (a, s) c = Unsqueeze (b, t) d = Relu (c) e = Squeeze (d, s) y = Neg (e)
        }
    """)
    feeds = {"x": np.ones(6, np.float32), "any": np.array([2, 3])}
    check_pass(MERGE, graph, feeds)
    assert ops(graph) == ["Reshape", "Unsqueeze", "Relu", "Squeeze", "Neg"]


def test_other_readers_keep_the_first_unless_all_merge() -> None:
    body = "r = Reshape (a, s) p = Reshape (r, t) q = Reshape (r, u) {} b = Concat <axis = 0> (p1, q)"
    weights = "int64[2] s = {-1, 4}, int64[2] t = {-1, 6}, int64[2] u = {-1, 6}"
    both = between(body.format("p1 = Relu (p)"), weights)
    check_at(MERGE, both, {"n": 2, "m": 1}, {"n": 4, "m": 2})
    assert ops(both).count("Reshape") == 2
    read = between(body.format("z = Exp (r) p1 = Relu (p)"), weights)
    check_refusal(MERGE, read, "'r' has other readers, so no node would go")


def test_a_pair_that_cancels_goes_though_the_first_stays() -> None:
    graph = between(
        "r = Unsqueeze (a, s) c = Squeeze (r, s) d = ReduceSum <keepdims = 0> (r, s) b = Add (c, d)",
        "int64[1] s = {0}",
    )
    check_at(MERGE, graph, *SIZES)
    assert ops(graph) == ["Neg", "Unsqueeze", "ReduceSum", "Add", "Abs"]


def test_an_output_in_the_middle_stays() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,6] x) => (float[p,3] r, float[q,2] y) <int64[2] s = {-1, 3}, int64[2] t = {-1, 2}> {
            a = Neg (x) r = Reshape (a, s) y = Reshape (r, t)
        }
    """)
    check_refusal(MERGE, graph, "'r' has other readers")


def test_nothing_between_an_input_and_an_output_is_an_identity() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,6] x) => (float[n,6] y) <int64[1] s = {0}> { r = Unsqueeze (x, s) y = Squeeze (r, s) }
    """)
    check_pass(MERGE, graph)
    assert ops(graph) == ["Identity"]


def test_a_computed_target_does_not_matter_before_a_constant_one() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,6] x, int64[k] any) => (float[p,q] y) <int64[2] t = {-1, 3}, int64[2] u = {0, 3}> {
            r = Reshape (x, any) s = Reshape (r, t) c = Neg (s) d = Reshape (c, any) y = Reshape (d, u)
        }
    """)
    feeds = {"x": np.ones((2, 6), np.float32), "any": np.array([4, 3])}
    check_pass(MERGE, graph, feeds)
    assert ops(graph) == ["Neg", "Reshape"]


SIZES_OF = """
    n = Shape <start = 0, end = 1> (x) m = Shape <start = 2, end = 3> (x)
    s = Concat <axis = 0> ({}) r = Reshape (a, t) b = Reshape (r, s)
"""


@pytest.mark.parametrize(
    ("items", "target", "merges"),
    [
        ("four, minus, m", "-1", True),  # an empty m would fail before too: there is no third dimension to copy
        ("n, minus, four", "-1, 4", True),  # an empty n copies an empty dimension, before and after
        ("minus, m, two", "0, 4, -1", False),  # an empty m would copy the 4, and then itself
    ],
)
def test_a_computed_target_may_copy_only_what_is_the_same_before(items: str, target: str, merges: bool) -> None:
    def model() -> ir.Graph:
        count = target.count(",") + 1
        weights = (
            f"int64[1] two = {{2}}, int64[1] four = {{4}}, int64[1] minus = {{-1}}, int64[{count}] t = {{{target}}}"
        )
        graph = between(SIZES_OF.format(items), weights, data="float[n,4,m]" if merges else "float[n,m,4]")
        if not merges:
            graph.nodes[2].attrs.update(start=1, end=2)
        return graph

    check_at(MERGE, model(), *SIZES, expect_change=merges)
    graph = model()
    check_at(MergeReshapes(empty_inputs=False), graph, *SIZES)
    assert ops(graph).count("Reshape") == 1


@pytest.mark.parametrize(("opset", "merged"), [(11, "Unsqueeze"), (4, "Unsqueeze")])
def test_older_opsets_have_axes_as_attributes(opset: int, merged: str) -> None:
    graph = parse(f"""
        <ir_version: 3, opset_import: ["" : {opset}]>
        g (float[n,3] x) => (float[] y) {{
            a = Neg (x) b = Unsqueeze <axes = [0]> (a) c = Unsqueeze <axes = [3]> (b) y = Neg (c)
        }}
    """)
    assert run_pass(MERGE, graph)[0] and ops(graph) == ["Neg", merged, "Neg"]
    assert graph.nodes[1].attrs == {"axes": [0, 3]}


def test_opset_4_has_no_reshape_by_input() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 4]>
        g (float[2,3] x) => (float[] y) { a = Reshape <shape = [6]> (x) b = Unsqueeze <axes = [0]> (a) y = Neg (b) }
    """)
    changed, ctx = run_pass(MERGE, graph)
    assert not changed and "opset 4 has no Reshape" in ctx.refusals[0].what


def test_golden_scopes() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[2,3] x, bool c) => (float[] y) <int64[1] zero = {0}, int64[2] t = {3, 2}> {
            outer = Unsqueeze (x, zero)
            p = If (c) <
                then_branch = t () => (float[] t1) { t0 = Unsqueeze (outer, zero) t1 = Abs (t0) },
                else_branch = e () => (float[] e1) { e0 = Squeeze (outer, zero) e1 = Reshape (e0, t) }
            >
            y = local.f (p)
        }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {
            k = Constant <value_ints = [-1, 3]> () l = Constant <value_ints = [-1]> ()
            m = Reshape (a, k) n = Relu (m) b = Reshape (n, l)
        }
    """)
    check_golden(MERGE, graph, "in branches and functions")


def test_subgraphs_of_old_files_have_no_new_initializers() -> None:
    text = """
        <ir_version: {}, opset_import: ["" : 11]>
        g (float[n,6] x, bool c, int64[2] s) => (float[] y) <int64[2] s = {{-1, 3}}> {{
            y = If (c) <
                then_branch = a () => (float[] t1) {{ t0 = Reshape (x, s) t1 = Unsqueeze <axes = [0]> (t0) }},
                else_branch = b () => (float[] e1) {{ e1 = Abs (x) }}
            >
        }}
    """
    changed, ctx = run_pass(MERGE, parse(text.format(3)))
    assert not changed and "subgraph has no initializers" in ctx.refusals[0].what


def test_a_function_may_redefine_an_operator() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[] y) <int64[1] s = {6}, int64[2] t = {2, 3}> {
            a = Reshape (x, s) b = Relu (a) y = Reshape (b, t)
        }
        <opset_import: ["" : 17], domain: ""> Relu (a) => (b) { b = Softmax (a) }
    """)
    assert not run_pass(MERGE, graph)[0]


def test_a_long_chain_is_one_rewrite_a_node() -> None:
    body = "v0 = Relu (a) " + " ".join(f"v{i + 1} = Reshape (v{i}, s{i % 2})" for i in range(200))
    graph = between(f"{body} b = Relu (v200)", "int64[2] s0 = {-1, 4}, int64[2] s1 = {-1, 6}")
    ctx = check_at(MERGE, graph, {"n": 2, "m": 3})
    assert ops(graph) == ["Neg", "Relu", "Reshape", "Relu", "Abs"] and len(ctx.rewrites) == 199


@pytest.mark.parametrize("limit", range(3))
def test_each_merge_is_one_rewrite(limit: int) -> None:
    graph = between("r = Flatten (a) p = Flatten (r) b = Flatten (p)")
    _, ctx = run_pass(MERGE, graph, limit=limit)
    assert len(ctx.rewrites) == limit and ops(graph).count("Flatten") == 3 - limit
