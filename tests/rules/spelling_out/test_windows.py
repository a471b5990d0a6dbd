"""Pools by slices, and by padding first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.rules.qnn import forms
from tests.passes.checks import check_refusal, ops, run, run_pass
from tests.rules.spelling_out.spelled import PASS, check, kept, model


def output_shape(shape: str, body: str, opset: int) -> str:
    open_ = ",".join("abcde"[index] for index in range(shape.count(",") + 1))
    graph = model(f"(float[{shape}] x) => (float[{open_}] y)", body, opset=opset)
    found = run(ir.to_proto(graph), {"x": np.zeros([int(each) for each in shape.split(",")], np.float32)})["y"]
    return ",".join(map(str, found.shape))


def pool(body: str, shape: str = "1,1,7,9", opset: int = 22) -> ir.Graph:
    return model(f"(float[{shape}] x) => (float[{output_shape(shape, body, opset)}] y)", body, opset=opset)


CASES = [
    *itertools.product(["[3, 2]"], ["[1, 1]", "[2, 3]"], ["[2, 1, 2, 1]", "[0, 1, 1, 0]"], [0, 1], [0, 1], ["[1, 1]"]),
    *itertools.product(["[3, 2]"], ["[1, 1]", "[2, 3]"], ["[1, 0, 1, 1]"], [0, 1], [0, 1], ["[2, 3]"]),
]


@pytest.mark.parametrize(("kernel", "strides", "pads", "ceil", "count", "dilations"), CASES)
def test_averages(kernel: str, strides: str, pads: str, ceil: int, count: int, dilations: str) -> None:
    body = (
        f"y = AveragePool <kernel_shape = {kernel}, strides = {strides}, pads = {pads}, ceil_mode = {ceil}, "
        f"count_include_pad = {count}, dilations = {dilations}> (x)"
    )
    graph = pool(body)
    before = run(ir.to_proto(graph), feeds := {"x": np.random.default_rng(0).normal(size=(1, 1, 7, 9)).astype("f4")})
    run_pass(PASS, graph)
    np.testing.assert_allclose(run(ir.to_proto(graph), feeds)["y"], before["y"], atol=1e-5)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding(auto_pad: str) -> None:
    graph = pool(f'y = AveragePool <kernel_shape = [2, 2], auto_pad = "{auto_pad}"> (x)', "1,3,6,6")
    check(graph)
    assert ops(graph) == ["Conv", "Mul"]


@pytest.mark.parametrize("dilations", ["[2, 2]", "[1, 3]"])
def test_dilated_maxima(dilations: str) -> None:
    body = f"y = MaxPool <kernel_shape = [3, 2], strides = [2, 1], pads = [1, 1, 1, 0], dilations = {dilations}> (x)"
    check(pool(body, "2,3,9,9"), gone="MaxPool")


def test_volumes_are_pooled_by_slices_of_four_axes() -> None:
    graph = pool("y = MaxPool <kernel_shape = [2, 2, 2]> (x)", "2,3,4,5,6")
    check(graph, gone="MaxPool")
    assert ops(graph)[0] == ops(graph)[-1] == "Reshape"


@pytest.mark.parametrize(
    "body",
    [
        "y = LpPool <kernel_shape = [3, 3], p = 3, pads = [1, 1, 1, 1]> (x)",
        "y = LpPool <kernel_shape = [2, 2], p = 1, dilations = [2, 2]> (x)",
        "y = LpPool <kernel_shape = [2, 3], p = 2, dilations = [2, 1], strides = [2, 2]> (x)",
    ],
)
def test_powers(body: str) -> None:
    check(pool(body, "1,2,7,9"), gone="LpPool")


def test_a_last_window_that_is_none() -> None:
    graph = pool("y = MaxPool <kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1> (x)", "1,1,2,2")
    check(graph)
    assert "ceil_mode" not in graph.nodes[0].attrs


def test_unread_indices_go() -> None:
    graph = model("(float[1,1,4,4] x) => (float[1,1,2,2] y)", "y, i = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x)")
    check(graph)
    assert [len(node.outputs) for node in graph.nodes] == [1]


def test_read_indices_are_refused() -> None:
    interface = "(float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i)"
    check_refusal(
        PASS, model(interface, "y, i = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x)"), "output 'i' is read"
    )


def test_large_windows_are_refused() -> None:
    graph = pool("y = MaxPool <kernel_shape = [40, 40], dilations = [2, 2]> (x)", "1,1,90,90")
    check_refusal(PASS, graph, "up to 64 slices")


@pytest.mark.parametrize(
    "body",
    [
        "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)",
        "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1, strides = [2, 2]> (x)",
        "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)",
        "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
        "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], ceil_mode = 1> (x)",
        "y = LpPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)",
    ],
)
def test_what_htp_takes_stays(body: str) -> None:
    assert forms.dilated.__doc__
    kept(pool(body, "1,3,8,8"))
