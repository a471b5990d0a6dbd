"""Numbers taken from and put at indices, in Core ML's words: no negative index reaches it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, model_of, problems

RANDOM = np.random.default_rng(7)
X = RANDOM.standard_normal((3, 4, 5)).astype(np.float32)
KINDS = [np.float32, np.int64, np.bool_]


def of(op: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


def both(node: Any, x: Any, indices: Any, **constants: Any) -> None:
    """With indices that are known, and with indices that are computed."""
    kind = {"y": x.dtype}
    assert_agrees(model_of([node], {"x": x}, kind, 18, i=indices, **constants), {"x": x})
    feeds = {"x": x, "i": indices}
    assert_agrees(model_of([node], feeds, kind, 18, **constants), feeds)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms(
        "Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND", "OneHot", "NonZero", "Unique"
    )
    assert equal >= 25
    assert all("bfloat16" in reason or "unique values" in reason for reason in refused.values()), refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("indices", [np.array(-1), np.array([0, -4, 3]), np.array([[1, -2], [-1, 0]])])
def test_gather_counts_from_either_end(kind: Any, indices: Any) -> None:
    both(of("Gather", "i", axis=1), (X * 3).astype(kind), indices)


def test_gather_along_a_flexible_axis() -> None:
    feeds = {"x": X, "i": np.array([-1, 0])}
    for scalar in (feeds, {"x": X, "i": np.array(-2)}):
        model = model_of([of("Gather", "i", axis=1)], scalar, {"y": np.float32}, flexible={"x": [3, "n", 5]})
        assert_agrees(model, scalar)


@pytest.mark.parametrize("kind", KINDS)
def test_gather_elements_takes_fewer_than_there_are(kind: Any) -> None:
    both(of("GatherElements", "i", axis=1), (X * 3).astype(kind), RANDOM.integers(-4, 4, (2, 6, 3)))


def test_gather_nd_of_slices_scalars_and_batches() -> None:
    for batch, indices in ((0, [[0, -1], [-3, 2]]), (0, [-1, 1, -2]), (1, [[[1], [-1]], [[0], [2]], [[-2], [3]]])):
        both(of("GatherND", "i", batch_dims=batch), X, np.array(indices))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters_with_reductions(reduction: str) -> None:
    whole = RANDOM.permuted(np.tile(np.arange(-5, 0), (3, 4, 1)), axis=2)[:, :, :3]
    for indices in (whole, whole[:2, :3]):
        updates = RANDOM.standard_normal(indices.shape).astype(np.float32)
        both(of("ScatterElements", "i", "u", axis=-1, reduction=reduction), X, indices, u=updates)
    places = np.array([[0, -1], [-1, 2]])
    both(of("ScatterND", "i", "u", reduction=reduction), X, places, u=X[0, :2] * 2)


def test_sums_at_one_place_add_up() -> None:
    updates = np.ones((3, 4, 2), np.float32)
    both(of("ScatterElements", "i", "u", axis=2, reduction="add"), X, np.full((3, 4, 2), -1), u=updates)


def test_one_hot_of_any_numbers() -> None:
    for axis in (-1, 0, 1):
        for values in ([0, 1], [2.5, -1.5]):
            node = helper.make_node("OneHot", ["x", "d", "v"], ["y"], axis=axis)
            x = np.array([[0, -1, 7], [3, -4, -5]], np.int64)
            model = model_of([node], {"x": x}, {"y": np.float32}, d=np.array(4), v=np.float32(values))
            assert_agrees(model, {"x": x})


def test_places_that_are_not_zero_are_counted_as_it_runs() -> None:
    x = (X > 0.5).astype(np.float32)
    assert_agrees(model_of([of("NonZero")], {"x": x}, {"y": np.int64}), {"x": x})


def test_indices_out_of_range_are_refused() -> None:
    model = model_of([of("Gather", "i", axis=1)], {"x": X}, {"y": np.float32}, i=np.array([4]))
    assert "indices 'i' are out of range of 4" in problems(model)[0]
