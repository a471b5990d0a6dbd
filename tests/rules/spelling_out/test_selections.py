"""Positions of the largest, triangles, determinants, masks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import check_refusal
from tests.rules.spelling_out.spelled import PASS, check, kept, model

TIES = np.array([[1, 3, 3, 2], [0, 0, 0, 0], [5, 4, 5, 5]], np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_hardmax_takes_the_first_of_the_largest(axis: int) -> None:
    graph = model("(float[3,4] x) => (float[3,4] y)", f"y = Hardmax <axis = {axis}> (x)")
    check(graph, {"x": TIES}, gone="Hardmax")


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(("axis", "keep", "shape"), [(1, 0, "3"), (0, 1, "1,4"), (-1, 1, "3,1")])
def test_the_last_of_the_largest(op: str, axis: int, keep: int, shape: str) -> None:
    body = f"y = {op} <axis = {axis}, keepdims = {keep}, select_last_index = 1> (x)"
    check(model(f"(float[3,4] x) => (int64[{shape}] y)", body), {"x": TIES})


def test_the_first_of_the_largest_stays() -> None:
    kept(model("(float[3,4] x) => (int64[1,4] y)", "y = ArgMax (x)"))


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("by", [None, -7, -1, 0, 2, 9])
def test_triangles(upper: int, by: int | None) -> None:
    constants = "" if by is None else f"int64 k = {{{by}}}"
    body = f"y = Trilu <upper = {upper}> (x{', k' if constants else ''})"
    check(model("(float[2,3,5] x) => (float[2,3,5] y)", body, constants), gone="Trilu")


def test_triangles_of_integers_and_of_nan() -> None:
    check(model("(int64[4,3] x) => (int64[4,3] y)", "y = Trilu (x)"), gone="Trilu")
    check(
        model("(float[2,2] x) => (float[2,2] y)", "y = Trilu (x)"), {"x": np.array([[1, 2], [np.nan, 4]], np.float32)}
    )


def test_triangles_of_truth_values() -> None:
    check(model("(bool[4,3] x) => (bool[4,3] y)", "y = Trilu (x)"), gone="Trilu")


def test_a_computed_diagonal_is_refused() -> None:
    graph = model("(float[3,3] x, int64 k) => (float[3,3] y)", "y = Trilu (x, k)")
    check_refusal(PASS, graph, "the value of 'k' is not known")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_determinants(size: int) -> None:
    check(model(f"(float[4,{size},{size}] x) => (float[4] y)", "y = Det (x)"), gone="Det")


def test_larger_determinants_are_refused() -> None:
    check_refusal(PASS, model("(float[4,4] x) => (float y)", "y = Det (x)"), "the determinant of 4 rows")


def test_attention_with_a_mask_of_truth_values() -> None:
    interface = "(float[1,2,3,4] q, float[1,2,5,4] k, float[1,2,5,4] v, bool[3,5] m) => (float[1,2,3,4] y)"
    mask = np.ones((3, 5), bool)
    mask[1, 2:] = False
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=(1, 2, size, 4)).astype("f4") for name, size in (("q", 3), ("k", 5), ("v", 5))}
    check(model(interface, "y = Attention (q, k, v, m)", opset=23), {**feeds, "m": mask})


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
def test_one_input_is_itself(op: str) -> None:
    check(model("(float[3] x) => (float[3] y)", f"y = {op} (x)"), gone=op)


def test_dropout_without_training_is_its_input() -> None:
    check(model("(float[3] x) => (float[3] y)", "y = Dropout (x)"), gone="Dropout")
    with_mask = model("(float[3] x) => (float[3] y, bool[3] m)", "y, m = Dropout (x)")
    check_refusal(PASS, with_mask, "its mask 'm' is read")
