"""Pad without axes, and by indices."""

from __future__ import annotations

import pytest

from tests.passes.checks import check_refusal, ops
from tests.rules.spelling_out.spelled import PASS, check, kept, model


@pytest.mark.parametrize("value", ["", "float v = {1.5}"])
def test_axes_are_all_of_them(value: str) -> None:
    body = f"y = Pad (x, pads, {'v' if value else ''}, axes)"
    constants = ", ".join(filter(None, ["int64[4] pads = {0, 1, 2, 3}", "int64[2] axes = {-1, 0}", value]))
    graph = model("(float[2,3,4] x) => (float[6,3,6] y)", body, constants)
    check(graph)
    assert [len(node.inputs) for node in graph.nodes] == [3 if value else 2]


@pytest.mark.parametrize(("mode", "dtype"), [("edge", "float"), ("reflect", "int32"), ("wrap", "float")])
def test_what_is_repeated_is_gathered(mode: str, dtype: str) -> None:
    constants = "int64[6] pads = {0, 1, 2, 0, 2, 0}"
    graph = model(
        f"({dtype}[2,3,4] x) => ({dtype}[2,6,6] y)", f'y = Pad <mode = "{mode}"> (x, pads)', constants, opset=19
    )
    check(graph)
    assert ops(graph) == ["Gather", "Gather"]


def test_cropping_is_refused() -> None:
    graph = model("(float[5] x) => (float[5] y)", 'y = Pad <mode = "edge"> (x, pads)', "int64[2] pads = {-1, 1}")
    check_refusal(PASS, graph, "some of its pads are negative")


def test_plain_padding_stays() -> None:
    kept(model("(float[5] x) => (float[7] y)", "y = Pad (x, pads)", "int64[2] pads = {1, 1}"))
    reflected = 'y = Pad <mode = "reflect"> (x, pads)'
    kept(model("(float[5] x) => (float[7] y)", reflected, "int64[2] pads = {1, 1}"))
