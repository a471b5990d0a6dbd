"""Gemm without factors."""

from __future__ import annotations

import pytest

from onnxopt import ir
from tests.passes.checks import ops
from tests.rules.spelling_out.spelled import check, kept, model

C = "float[4] c = {1, 2, 3, 4}"


@pytest.mark.parametrize(
    "attributes", ["alpha = 0.5", "beta = 0.25", "alpha = 2.0, beta = 0.5, transA = 1, transB = 1"]
)
@pytest.mark.parametrize("constant", [False, True])
def test_factors_are_multiplied_in(attributes: str, constant: bool) -> None:
    a, b = ("3,2", "4,3") if "transA" in attributes else ("2,3", "3,4")
    weights = f"float[{b}] b = {{{','.join(map(str, range(12)))}}}, {C}"
    interface = f"(float[{a}] a) => (float[2,4] y)" if constant else f"(float[{a}] a, float[{b}] b) => (float[2,4] y)"
    graph = model(interface, f"y = Gemm <{attributes}> (a, b, c)", weights if constant else C)
    check(graph)
    assert all("alpha" not in node.attrs and "beta" not in node.attrs for node in graph.nodes)


def test_small_constants_are_worked_out() -> None:
    weights = f"float[3,4] b = {{{','.join(map(str, range(12)))}}}, {C}"
    graph = model("(float[2,3] a) => (float[2,4] y)", "y = Gemm <alpha = 0.5, beta = 2.0> (a, b, c)", weights)
    check(graph)
    assert ops(graph) == ["Gemm"] and isinstance(graph.nodes[0].inputs[1], ir.Constant)


def test_without_factors_it_stays() -> None:
    kept(model("(float[3,2] a, float[3,4] b) => (float[2,4] y)", "y = Gemm <transA = 1> (a, b, c)", C))
