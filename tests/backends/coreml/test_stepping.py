"""What goes step by step: LinearAttention, NonMaxSuppression; few steps are spelled out, many are a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, evaluated, model_of, operations, problems

RANDOM = np.random.default_rng(9)


def floats(*shape: int) -> Any:
    return (RANDOM.standard_normal(shape) / 2).astype(np.float32)


def scalar(value: Any, kind: Any = np.float32) -> Any:
    return np.array(value, kind)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("LinearAttention")
    assert (equal, refused) == (14, {})
    equal, refused = conforms("TensorScatter", "CumProd", "CumSum", "Col2Im")
    assert equal >= 6
    assert all("has to be constant" in reason or "float64" in reason for reason in refused.values()), refused


@pytest.mark.parametrize("steps", [3, 70])
@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_linear_attention_of_every_rule(rule: str, steps: int) -> None:
    feeds = {"q": floats(2, steps, 16), "k": floats(2, steps, 8), "v": floats(2, steps, 6)}
    names = ["q", "k", "v", "", "", ""]
    if rule.startswith("gated"):
        feeds["g"], names[4] = -np.abs(floats(2, steps, 2)), "g"
    if rule.endswith("delta"):
        feeds["b"], names[5] = np.abs(floats(2, steps, 2)) / 4, "b"
    node = helper.make_node("LinearAttention", names, ["y", "s"], update_rule=rule, q_num_heads=4, kv_num_heads=2)
    model = model_of([node], feeds, {"y": np.float32, "s": np.float32}, 27)
    assert ("while_loop" in operations(model)) == (steps > 64)
    wanted = ReferenceEvaluator(model).run(None, feeds)
    for found, each in zip(evaluated(model, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-5)


def boxes_and_scores(classes: int, count: int) -> dict[str, Any]:
    corners = RANDOM.random((2, count, 4)).astype(np.float32)  # any two corners that are opposite
    return {"b": corners, "s": RANDOM.random((2, classes, count)).astype(np.float32)}


def suppression(feeds: dict[str, Any], most: int, **attributes: int) -> Any:
    node = helper.make_node("NonMaxSuppression", ["b", "s", "m", "i", "t"], ["y"], **attributes)
    parameters = {"m": scalar(most, np.int64), "i": scalar(0.3), "t": scalar(0.4)}
    return model_of([node], feeds, {"y": np.int64}, 11, **parameters)


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("most", [2, 20, 100])
def test_boxes_that_overlap_less_than_they_may(center: int, most: int) -> None:
    feeds = boxes_and_scores(3, 90)
    model = suppression(feeds, most, center_point_box=center)
    assert ("while_loop" in operations(model)) == (most > 64)
    assert_agrees(model, feeds)


def test_equal_scores_and_boxes_without_area() -> None:
    feeds = boxes_and_scores(1, 12)
    feeds["b"][:, 6:] = feeds["b"][:, :6]
    feeds["b"][:, 3, 2:] = feeds["b"][:, 3, :2]
    feeds["s"][:] = 0.5
    assert_agrees(suppression(feeds, 12), feeds)


def test_no_box_at_all_is_refused() -> None:
    (reason,) = problems(suppression(boxes_and_scores(1, 4), 0))
    assert "it chooses no box (max_output_boxes_per_class)" in reason


def test_peepholes_that_are_computed() -> None:
    feeds = {"x": floats(3, 2, 4), "p": floats(2, 15)}
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "", "", "", "", "p"], ["y"], hidden_size=5, direction="bidirectional"
    )
    model = model_of([node], feeds, {"y": np.float32}, 14, w=floats(2, 20, 4), r=floats(2, 20, 5))
    assert_agrees(model, feeds)
