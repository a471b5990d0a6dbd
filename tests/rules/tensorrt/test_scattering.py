"""Scatter with reductions, columns, choices."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import check_pass, run, run_pass
from tests.rules.tensorrt.legalized import PASS, check, kept, model

RNG = np.random.default_rng(0)
REDUCTIONS = ["add", "mul", "max", "min"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float", "int32"])
def test_rows_of_one_place_are_reduced(reduction: str, dtype: str) -> None:
    x, u = (RNG.integers(-9, 9, shape).astype("f4" if dtype == "float" else "i4") for shape in ((4, 5, 2), (3, 2, 2)))
    i = np.array([[[0, 1], [3, 4]], [[0, 1], [-1, 0]], [[0, 1], [3, -1]]])
    graph = model(
        f"({dtype}[4,5,2] x, int64[3,2,2] i, {dtype}[3,2,2] u) => ({dtype}[4,5,2] y)",
        f'y = ScatterND <reduction = "{reduction}"> (x, i, u)',
    )
    check(graph, {"x": x, "i": i, "u": u}, gone="ScatterND")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("axis", "shape"), [(0, "6,4"), (1, "3,2")])
def test_elements_of_one_place_are_reduced(reduction: str, axis: int, shape: str) -> None:
    sizes = [int(each) for each in shape.split(",")]
    graph = model(
        f"(float[3,4] x, int64[{shape}] i, float[{shape}] u) => (float[3,4] y)",
        f'y = ScatterElements <axis = {axis}, reduction = "{reduction}"> (x, i, u)',
    )
    feeds = {
        "x": RNG.normal(size=(3, 4)).astype("f4"),
        "i": RNG.integers(-3, 3, sizes),
        "u": RNG.normal(size=sizes).astype("f4"),
    }
    check(graph, feeds, gone="ScatterElements")


def test_what_replaces_stays() -> None:
    interface = "(float[3,4] x, float[1,4] u) => (float[3,4] y)"
    kept(model(interface, "y = ScatterND (x, i, u)", "int64[1,1] i = {2}"))


def test_indices_of_a_part_are_refused() -> None:
    graph = model(
        "(float[3,4] x, int64[1,2] i, float[1,2] u) => (float[3,4] y)",
        'y = ScatterElements <reduction = "add"> (x, i, u)',
    )
    feeds = {"x": np.ones((3, 4), "f4"), "i": np.array([[0, 2]]), "u": np.ones((1, 2), "f4")}
    ctx = check_pass(PASS, graph, feeds, expect_change=False)
    assert "do not cover [3, 4] but for axis 0" in ctx.refusals[0].what


def test_large_ones_are_refused() -> None:
    graph = model(
        "(float[3000,1] x, int64[3000,1] i, float[3000,1] u) => (float[3000,1] y)",
        'y = ScatterND <reduction = "add"> (x, i, u)',
    )
    feeds = {"x": np.ones((3000, 1), "f4"), "i": np.zeros((3000, 1), "i8"), "u": np.ones((3000, 1), "f4")}
    ctx = check_pass(PASS, graph, feeds, expect_change=False)
    assert "makes 9000000 elements: up to 1048576 are spelled out" in ctx.refusals[0].what


@pytest.mark.parametrize("strides", [[2, 2], [1, 2]])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 0]])
@pytest.mark.parametrize("more", [0, 1])
def test_columns(strides: list[int], pads: list[int], more: int) -> None:
    """`more` rows and columns of the image that no block reaches."""
    counts = [3, 2]
    image = [(counts[at] - 1) * strides[at] + 2 - pads[at] - pads[at + 2] + more * (strides[at] > 1) for at in (0, 1)]
    body = f"y = Col2Im <strides = {strides}, pads = {pads}> (x, image, block)"
    constants = f"int64[2] image = {{{image[0]}, {image[1]}}}, int64[2] block = {{2, 2}}"
    check(model(f"(float[2,12,6] x) => (float[2,3,{image[0]},{image[1]}] y)", body, constants), gone="Col2Im")


def test_unpooling() -> None:
    x = RNG.normal(size=(2, 3, 4, 4)).astype("f4")
    pool = model(
        "(float[2,3,4,4] x) => (float[2,3,2,2] y, int64[2,3,2,2] i)",
        "y, i = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x)",
    )
    feeds = run(ir.to_proto(pool), {"x": x})
    graph = model(
        "(float[2,3,2,2] y, int64[2,3,2,2] i) => (float[2,3,4,4] z)",
        "z = MaxUnpool <kernel_shape = [2,2], strides = [2,2]> (y, i)",
    )
    check(graph, feeds, gone="MaxUnpool")


@pytest.mark.parametrize(("attributes", "shape"), [("", "3"), ("<axis = 1>", "2,3"), ("<axis = -1>", "2,3")])
def test_a_known_choice(attributes: str, shape: str) -> None:
    body, constants = f"y = Compress {attributes} (x, c)", "bool[4] c = {1, 0, 1, 1}"
    check(model(f"(float[2,4] x) => (float[{shape}] y)", body, constants), gone="Compress")


@pytest.mark.parametrize(
    "body", ["y = NonZero (x)", "y = Compress <axis = 0> (x, c)", "y, i, j, k = Unique <sorted = 1> (x)"]
)
def test_what_the_values_decide_is_refused(body: str) -> None:
    graph = model("(float[4] x, bool[4] c) => (y)", f"u = Not (c) {body}")
    _, ctx = run_pass(PASS, graph)
    assert any("depends on the values" in each.what or "'c' is not known" in each.what for each in ctx.refusals), (
        ctx.refusals
    )
