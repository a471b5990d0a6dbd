"""`merge-slices`: Slices in a row are one; Slices that cut a tensor into pieces are one Split."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.merge_slices import MergeSlices
from tests.passes.bindings import check_at
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

MERGE = MergeSlices()
SIZES = ({"n": 7, "m": 9}, {"n": 1, "m": 3})
BIG = 2**63 - 1


def sliced(*slices: tuple[object, ...], data: str = "float[n,m]", opset: int = 17) -> ir.Graph:
    """A chain of Slices, each of start, end, axis and, if given, step."""
    body, weights, value = "a = Neg (x)", [], "a"
    for number, values in enumerate(slices):
        names = [f"{role}{number}" for role in ("start", "end", "axis", "step")[: len(values)]]
        lists = [value_ if isinstance(value_, tuple) else (value_,) for value_ in values]
        weights += [f"int64[{len(v)}] {n} = {{{', '.join(map(str, v))}}}" for n, v in zip(names, lists, strict=True)]
        body += f" v{number} = Slice ({', '.join([value, *names])})"
        value = f"v{number}"
    rank = data.count(",") + 1
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g ({data} x) => (float[{", ".join("pqrs"[:rank])}] y) <{", ".join(weights)}> {{ {body} y = Abs ({value}) }}
    """)


@pytest.mark.parametrize(
    ("slices", "data", "expected"),
    [
        ([(1, 3, 0), (0, 2, 1)], "float[n,m]", [[1, 0], [3, 2], [0, 1]]),
        ([(2, BIG, 1), (1, 4, 1)], "float[n,m]", [[3], [6], [1]]),
        ([(1, 6, 1, 2), (1, BIG, 1, 1)], "float[n,m]", [[3], [6], [1], [2]]),
        ([(1, BIG, 1, 2), (1, BIG, 1, 3)], "float[n,m]", [[3], [BIG], [1], [6]]),
        ([(-3, BIG, -1), (0, -1, -1)], "float[n,8]", [[5], [7], [1]]),
        ([((0, 1), (2, BIG), (0, 1)), (1, 5, 1)], "float[n,m]", [[0, 2], [2, 6], [0, 1]]),
        ([(4, 2, 1), (0, 1, 1)], "float[n,m]", [[4], [2], [1]]),  # nothing is left of nothing
    ],
)
def test_two_in_a_row(slices: list[tuple[object, ...]], data: str, expected: list[list[int]]) -> None:
    graph = sliced(*slices, data=data)
    check_at(MERGE, graph, *SIZES)
    assert ops(graph) == ["Neg", "Slice", "Abs"]
    assert [tensor.read().tolist() for tensor in graph.nodes[1].inputs[1:]] == expected


@pytest.mark.parametrize("seed", range(40))
def test_random_slices_take_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slices = [
        (int(rng.integers(-6, 8)), int(rng.integers(-6, 12)), int(rng.integers(-2, 2)), int(rng.integers(1, 4)))
        for _ in range(int(rng.integers(2, 5)))
    ]
    graph = sliced(*slices, data="float[7,9]")
    check_pass(MERGE, graph)
    assert ops(graph).count("Slice") == 1


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        ([(0, -1, 1), (0, 2, 1)], "size of 'a', from whose end it counts, is not certain"),
        ([(0, 5, 1), (-2, BIG, 1)], "size of 'v0', from whose end it counts, is not certain"),
    ],
)
def test_from_the_end_of_what_is_not_certain(slices: list[tuple[object, ...]], reason: str) -> None:
    check_refusal(MERGE, sliced(*slices), reason)


def test_backwards_stays() -> None:
    check_at(MERGE, sliced((0, 3, 1), (2, -9, 1, -1)), *SIZES, expect_change=False)


def pieces(
    *spans: tuple[int, int], axis: int = 1, data: str = "float[n,6]", more: str = "", opset: int = 17
) -> ir.Graph:
    weights = [f"int64[1] s{i} = {{{s}}}, int64[1] e{i} = {{{e}}}" for i, (s, e) in enumerate(spans)]
    nodes = " ".join(f"p{i} = Slice (a, s{i}, e{i}, axis) q{i} = Neg (p{i})" for i in range(len(spans)))
    outputs = ", ".join(f"q{i}" for i in reversed(range(len(spans))))
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g ({data} x) => (float[p,q] y) <{", ".join(weights)}, int64[1] axis = {{{axis}}}> {{
            a = Neg (x) {nodes} {more} y = Concat <axis = {axis}> ({outputs})
        }}
    """)


def test_slices_that_cut_a_tensor_are_a_split() -> None:
    graph = pieces((3, BIG), (0, 2), (-4, 3))
    check_at(MERGE, graph, {"n": 2}, {"n": 3})
    split = next(node for node in graph.nodes if node.op == "Split")
    assert "Slice" not in ops(graph) and split.inputs[1].read().tolist() == [2, 1, 3]
    assert [tensor.name for tensor in split.outputs] == ["p1", "p2", "p0"] and split.attrs == {"axis": 1}


@pytest.mark.parametrize(
    ("spans", "data"),
    [
        ([(0, 2), (3, 6)], "float[n,6]"),  # a gap
        ([(0, 4), (3, 6)], "float[n,6]"),  # an overlap
        ([(0, 2), (2, 5)], "float[n,6]"),  # a rest
        ([(0, 2), (2, BIG)], "float[n,m]"),  # a size that is not certain
    ],
)
def test_what_does_not_tile_stays(spans: list[tuple[int, int]], data: str) -> None:
    graph = pieces(*spans, data=data)
    check_at(MERGE, graph, {"n": 2, "m": 6}, {"n": 1, "m": 5}, expect_change=False)


def test_older_opsets() -> None:
    graph = pieces((0, 2), (2, 6), opset=11)
    check_at(MERGE, graph, {"n": 2})
    assert next(node for node in graph.nodes if node.op == "Split").attrs == {"axis": 1, "split": [2, 4]}
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 9]>
        g (float[n,m] x) => (float[p,q] y) {
            a = Slice <starts = [1], ends = [4]> (x) b = Slice <starts = [0, 1], ends = [2, 3], axes = [0, 1]> (a)
            y = Neg (b)
        }
    """)
    assert run_pass(MERGE, graph)[0]
    assert graph.nodes[0].attrs == {"starts": [1, 1], "ends": [3, 3], "axes": [0, 1]}


def test_other_readers_and_outputs_keep_the_first() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[9] x) => (float[p] a, float[q] y) <int64[1] s = {1}, int64[1] e = {5}> {
            a = Slice (x, s, e) y = Slice (a, s, e)
        }
    """)
    check_pass(MERGE, graph, expect_change=False)


def test_golden_scopes() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[8] x, bool c) => (float[n] y) <int64[1] one = {1}, int64[1] four = {4}, int64[1] zero = {0}> {
            outer = Slice (x, one, four)
            p = If (c) <
                then_branch = t () => (float[k] t1) { t1 = Slice (outer, zero, one) },
                else_branch = e () => (float[k] e1) {
                    low = Slice (x, zero, four) e8 = Constant <value_ints = [8]> () high = Slice (x, four, e8)
                    e1 = Add (low, high)
                }
            >
            y = local.f (p)
        }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {
            s = Constant <value_ints = [0]> () e = Constant <value_ints = [3]> ()
            m = Slice (a, s, e, s) b = Slice (m, s, e, s)
        }
    """)
    check_golden(MERGE, graph, "in branches and functions")


@pytest.mark.parametrize("limit", range(3))
def test_each_merge_is_one_rewrite(limit: int) -> None:
    graph = sliced((1, 7, 0), (1, 7, 0), (1, 7, 0))
    _, ctx = run_pass(MERGE, graph, limit=limit)
    assert len(ctx.rewrites) == limit and ops(graph).count("Slice") == 3 - limit
