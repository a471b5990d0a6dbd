"""`merge-reshapes`: over elementwise nodes, Transposes and Gathers that stand in between."""

from __future__ import annotations

import pytest

from onnxopt import ir
from tests.passes.bindings import check_at
from tests.passes.checks import check_pass, check_refusal, ops, run_pass
from tests.passes.reshape_models import MERGE, SIZES, between, target


def test_elementwise_nodes_in_between_move() -> None:
    graph = between(
        "r = Reshape (a, s) c = Relu (r) d = Mul (two, c) e = Clip (d, low) b = Reshape (e, t)",
        "int64[2] s = {-1, 12}, int64[3] t = {-1, 4, 6}, float two = {2}, float low = {0.5}",
    )
    check_at(MERGE, graph, {"n": 2, "m": 4}, {"n": 4, "m": 1})
    assert ops(graph) == ["Neg", "Relu", "Mul", "Clip", "Reshape", "Abs"]


def test_the_shape_of_what_moved_counts_for_the_next() -> None:
    graph = between(
        "r = Reshape (a, s) c = Relu (r) d = Reshape (c, t) e = Exp (d) f = Flatten (e) b = Reshape (f, u)",
        "int64[2] s = {-1, 12}, int64[4] t = {-1, 3, 5, 4}, int64[2] u = {0, -1}",
        data="float[n,3,5,4]",
    )
    check_at(MERGE, graph, {"n": 2}, {"n": 3})
    assert ops(graph) == ["Neg", "Relu", "Exp", "Reshape", "Abs"]


GELU = """
    r = Reshape (a, s) c = Mul (r, half) d = Pow (r, three) e = Mul (d, half) f = Add (r, e) g = Tanh (f)
    h = Add (g, one) i = Mul (c, h)
"""

GELU_WEIGHTS = """
    int64[2] s = {-1, 12}, int64[3] t = {0, 4, 3}, float half = {0.5}, float three = {3}, float[1,1] one = {1}
"""


def test_a_region_of_elementwise_nodes_moves_as_a_whole() -> None:
    graph = between(f"{GELU} b = Reshape (i, t)", GELU_WEIGHTS)
    check_at(MERGE, graph, {"n": 2, "m": 4}, {"n": 4, "m": 1})
    assert ops(graph).count("Reshape") == 1


@pytest.mark.parametrize(
    ("tail", "weights"),
    [
        ("j = Softmax (e) b = Add (k, j)", ""),  # someone else reads a value inside
        ("b = Mul (k, wide)", "float[1,1,1] wide = {2}"),
    ],
)
def test_a_region_that_leaks_stays(tail: str, weights: str) -> None:
    body = f"{GELU} k = Reshape (i, u) {tail}"
    graph = between(body, f"{GELU_WEIGHTS}, int64[2] u = {{-1, 12}}{weights and ', '}{weights}")
    check_at(MERGE, graph, {"n": 2, "m": 1}, expect_change="wide" in tail)


def test_a_constant_of_more_dimensions_stays_behind_the_reshape() -> None:
    graph = between(
        "r = Reshape (a, s) c = Mul (r, wide) b = Reshape (c, t)",
        "int64[3] s = {0, 4, 3}, float[1,1,1] wide = {2}, int64[1] t = {-1}",
        data="float[n,12]",
    )
    check_at(MERGE, graph, {"n": 2}, expect_change=False)


@pytest.mark.parametrize(
    ("new", "perm", "gone", "left"),
    [
        ([0], [3, 1, 2, 0, 4], [-2], [2, 0, 1, 3]),
        ([1, 3], [5, 3, 4, 2, 1, 0], [1, 4], [3, 2, 1, 0]),
        ([4], [1, 0, 2, 4, 3], [3], [1, 0, 2, 3]),
    ],
)
def test_axes_that_only_a_transpose_sees_go(new: list[int], perm: list[int], gone: list[int], left: list[int]) -> None:
    def listed(name: str, values: list[int]) -> str:
        return f"int64[{len(values)}] {name} = {{{', '.join(map(str, values))}}}"

    body = f"r = Unsqueeze (a, s) c = Transpose <perm = {perm}> (r) b = Squeeze (c, t)"
    graph = between(body, f"{listed('s', new)}, {listed('t', gone)}")
    check_at(MERGE, graph, *SIZES)
    assert ops(graph) == ["Neg", "Transpose", "Abs"] and graph.nodes[1].attrs["perm"] == left


def test_a_gather_of_everything_in_order_is_a_reshape() -> None:
    weights = "int64[2,1,3] i = {0, 1, 2, 3, -2, 5}, int64[2] s = {6, 1}, int64[3] t = {2, 3, 1}"
    body = "r = Reshape (a, s) c = Gather <axis = 0> (r, i) b = Reshape (c, t)"
    graph = between(body, weights, data="float[6]")
    check_pass(MERGE, graph)
    assert target(graph) == ("Reshape", [2, 3, 1])
    other = between(body, weights.replace("3, -2", "-2, 3"), data="float[6]")
    check_pass(MERGE, other, expect_change=False)


def test_a_squeeze_of_another_axis_stays_behind_the_transpose() -> None:
    graph = between(
        "r = Unsqueeze (a, s) c = Transpose <perm = [1, 0, 2, 3, 4]> (r) b = Squeeze (c, t)",
        "int64[1] s = {0}, int64[1] t = {0}",
    )
    check_at(MERGE, graph, {"n": 1, "m": 2}, expect_change=False)


def test_what_is_declared_of_moved_values_moves_too() -> None:
    """A declared shape that is wrong now would make the file invalid."""
    graph = between(f"{GELU} b = Reshape (i, t)", GELU_WEIGHTS)
    ir.infer_shapes(graph)
    assert graph.nodes[2].outputs[0].shape == [None, 12]
    check_at(MERGE, graph, *SIZES)
    detour = between(
        "r = Unsqueeze (a, s) c = Transpose <perm = [3, 1, 2, 0, 4]> (r) b = Squeeze (c, t)",
        "int64[1] s = {0}, int64[1] t = {3}",
    )
    ir.infer_shapes(detour)
    check_at(MERGE, detour, *SIZES)


def test_a_vector_in_between_does_not_let_through() -> None:
    graph = between(
        "r = Reshape (a, s) c = Add (r, v) b = Reshape (c, t)",
        "int64[2] s = {-1, 4}, int64[2] t = {-1, 6}, float[4] v = {1, 2, 3, 4}",
    )
    check_at(MERGE, graph, {"n": 2, "m": 1}, expect_change=False)


def test_a_mask_stays_where_the_engine_looks_for_it() -> None:
    body = "r = Unsqueeze (a, s) c = Unsqueeze (r, t) d = Cast <to = 1> (c) b = Sub (one, d)"
    weights = "int64[1] s = {1}, int64[1] t = {2}, float one = {1}"
    check_refusal(MERGE, between(body, weights, data="float[n,m]"), "engine looks for both")
    graph = between(body, weights, data="float[n,m]")
    assert run_pass(MERGE, graph, target="coreml")[0]
