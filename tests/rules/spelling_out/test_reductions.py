"""Reductions by sums, products by halves."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import check_refusal, ops
from tests.rules.spelling_out.spelled import PASS, check, model

ONE, TWO = "int64[1] axes = {1}", "int64[2] axes = {-1, 0}"
OPS = ["ReduceL1", "ReduceSumSquare", "ReduceProd", "ReduceLogSum"]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("axes", "keep", "shape"),
    [("", 0, ""), ("", 1, "1,1,1"), (ONE, 0, "2,4"), (ONE, 1, "2,1,4"), (TWO, 0, "3"), (TWO, 1, "1,3,1")],
)
def test_same_sums(op: str, axes: str, keep: int, shape: str) -> None:
    output = f"float[{shape}] y" if shape else "float y"
    body = f"y = {op} <keepdims = {keep}> (x{', axes' if axes else ''})"
    x = np.random.default_rng(0).random((2, 3, 4), np.float32) + 0.5
    check(model(f"(float[2,3,4] x) => ({output})", body, axes), {"x": x}, gone=op)


@pytest.mark.parametrize("op", OPS)
def test_axes_are_an_attribute_in_older_opsets(op: str) -> None:
    x = np.random.default_rng(0).random((2, 5), np.float32) + 0.5
    graph = model("(float[2,5] x) => (float[2] y)", f"y = {op} <axes = [1], keepdims = 0> (x)", opset=11)
    check(graph, {"x": x}, gone=op)


def test_over_no_axis_at_all() -> None:
    graph = model("(float[2,3] x) => (float[2,3] y)", "y = ReduceL1 <noop_with_empty_axes = 1> (x)")
    check(graph)
    assert ops(graph) == ["Abs"]


def test_integers() -> None:
    check(model("(int32[2,3] x) => (int32[2,1] y)", "y = ReduceL1 (x, axes)", "int64[1] axes = {1}"))


def test_long_products_are_refused() -> None:
    check_refusal(PASS, model("(float[100] x) => (float[1] y)", "y = ReduceProd (x)"), "multiplies .100. elements")


def test_open_sizes_are_refused_with_the_remedy() -> None:
    graph = model("(float[n] x) => (float[1] y)", "y = ReduceProd (x)")
    check_refusal(PASS, graph, "axis 0 of 'x' has no fixed size: freeze-shapes may help")


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_truth_values_are_numbers(op: str) -> None:
    check(model("(bool[2,3] x) => (bool[2,1] y)", f"y = {op} (x, axes)", "int64[1] axes = {1}", opset=20))


def test_other_types_are_refused() -> None:
    graph = model("(double[2,3] x) => (double[1,1] y)", "y = ReduceLogSum (x)")
    check_refusal(PASS, graph, "'x' is float64, and this is for float16 and float32")
