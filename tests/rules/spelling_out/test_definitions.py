"""Operators by the functions that define them, and recurrent layers by their steps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import check_refusal
from tests.rules.spelling_out.spelled import PASS, check, model

LABELS = {"x": np.random.default_rng(0).normal(size=(3, 5, 2)).astype("f4"), "t": np.array([[0, 4], [1, 1], [2, 3]])}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", ["", ", ignore_index = 1"])
def test_cross_entropy(reduction: str, ignored: str) -> None:
    output = "float[3,2] y" if reduction == "none" else "float y"
    body = f'y = SoftmaxCrossEntropyLoss <reduction = "{reduction}"{ignored}> (x, t)'
    graph = model(f"(float[3,5,2] x, int64[3,2] t) => ({output})", body)
    check(graph, LABELS, gone="SoftmaxCrossEntropyLoss")


def test_both_outputs_of_cross_entropy() -> None:
    interface = "(float[3,5,2] x, int64[3,2] t) => (float y, float[3,5,2] p)"
    check(model(interface, "y, p = SoftmaxCrossEntropyLoss (x, t)"), LABELS, gone="SoftmaxCrossEntropyLoss")


@pytest.mark.parametrize(("shape", "size"), [("10,9,3", "10, 9"), ("30,2,3", "30, 2")])
def test_crops(shape: str, size: str) -> None:
    body, constants = "y = CenterCropPad <axes = [0, 1]> (x, shape)", f"int64[2] shape = {{{size}}}"
    check(model(f"(float[20,8,3] x) => (float[{shape}] y)", body, constants), gone="CenterCropPad")


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize(("sizes", "theta"), [("4,5", "2,3"), ("3,4,5", "3,4"), ("4,2", "2,3")])
def test_grids(batch: int, align: int, sizes: str, theta: str) -> None:
    rank = sizes.count(",") + 1
    constants = f"int64[{rank + 2}] size = {{{batch},1,{sizes}}}"
    interface = f"(float[{batch},{theta}] x) => (float[{batch},{sizes},{rank}] y)"
    body = f"y = AffineGrid <align_corners = {align}> (x, size)"
    check(model(interface, body, constants, opset=20), gone="AffineGrid")


def test_open_sizes_are_asked_for_while_the_model_runs() -> None:
    body = "y = SoftmaxCrossEntropyLoss (x, t)"
    check(model("(float[n,5] x, int64[n] t) => (float y)", body), gone="SoftmaxCrossEntropyLoss")


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("outputs", ["y", ", h", "y, h"])
@pytest.mark.parametrize("bias", [False, True])
def test_recurrent_layers_step_by_step(direction: str, outputs: str, bias: bool) -> None:
    ways = 2 if direction == "bidirectional" else 1
    declared = {"y": f"float[3,{ways},2,4] y", "h": f"float[{ways},2,4] h"}
    given = [f"float[3,2,5] x, float[{ways},4,5] w, float[{ways},4,4] r"] + [f"float[{ways},8] b"] * bias
    found = [declared[name] for name in outputs.replace(",", " ").split()]
    body = f'{outputs} = RNN <hidden_size = 4, direction = "{direction}"> (x, w, r{", b" if bias else ""})'
    check(model(f"({', '.join(given)}) => ({', '.join(found)})", body, opset=14), gone="RNN")


def test_long_sequences_are_refused() -> None:
    interface = "(float[65,2,5] x, float[1,4,5] w, float[1,4,4] r) => (float[65,1,2,4] y)"
    check_refusal(PASS, model(interface, "y = RNN <hidden_size = 4> (x, w, r)"), "65 steps: up to 64")
