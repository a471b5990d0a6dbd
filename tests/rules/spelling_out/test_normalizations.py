"""Normalizations over one axis, of one output, or by moments."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import check_refusal, ops
from tests.rules.spelling_out.spelled import PASS, check, kept, model

SHAPES = {0: ("2,3,4", "1,1,1"), 1: ("3,4", "2,1,1"), -1: ("4", "2,3,1")}


@pytest.mark.parametrize("axis", SHAPES)
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_moments_are_computed_aside(axis: int, outputs: int) -> None:
    scale, moment = SHAPES[axis]
    names = ["y", "mean", "deviation"][:outputs]
    declared = [f"float[{'2,3,4' if name == 'y' else moment}] {name}" for name in names]
    interface = f"(float[2,3,4] x, float[{scale}] s, float[{scale}] b) => ({', '.join(declared)})"
    graph = model(interface, f"{', '.join(names)} = LayerNormalization <axis = {axis}> (x, s, b)")
    if outputs == 1 and axis == -1:
        kept(graph)
        return
    check(graph)
    norms = [node for node in graph.nodes if node.op == "LayerNormalization"]
    assert [len(node.outputs) for node in norms] == [1] and norms[0].attrs["axis"] == -1


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_root_mean_square_over_several_axes(axis: int) -> None:
    scale = {0: "2,3,4", 1: "3,4", -2: "3,4"}[axis]
    graph = model(
        f"(float[2,3,4] x, float[{scale}] s) => (float[2,3,4] y)",
        f"y = RMSNormalization <axis = {axis}> (x, s)",
        opset=23,
    )
    check(graph)
    assert ops(graph) == ["Reshape", "Reshape", "RMSNormalization", "Reshape"]


def test_a_scale_that_is_broadcast_is_refused() -> None:
    graph = model("(float[2,3,4] x, float[4] s) => (float[2,3,4] y)", "y = LayerNormalization <axis = 1> (x, s)")
    check_refusal(PASS, graph, "is broadcast to")


def test_mean_and_variance() -> None:
    graph = model("(float[2,3,4,5] x) => (float[2,3,4,5] y)", "y = MeanVarianceNormalization (x)")
    check(graph, gone="MeanVarianceNormalization")


def test_sums_of_sizes_and_none() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("f4")
    x[1] = 0
    check(
        model("(float[3,4] x) => (float[3,4] y)", "y = LpNormalization <p = 1> (x)"), {"x": x}, gone="LpNormalization"
    )
    kept(model("(float[3,4] x) => (float[3,4] y)", "y = LpNormalization (x)"))
