"""Numbers taken between the places of a tensor: GridSample, DeformConv, RoiAlign."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, model_of, operations, problems

RANDOM = np.random.default_rng(5)
X = RANDOM.standard_normal((2, 3, 4, 6)).astype(np.float32)
GRID = (RANDOM.random((2, 5, 3, 2)) * 5 - 2.5).astype(np.float32)
"""Some of it far outside of [-1, 1]."""
MODES = ["linear", "nearest", "cubic"]
PADDINGS = ["zeros", "border", "reflection"]


def of(op: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("GridSample", "DeformConv", "RoiAlign", rtol=1e-3)
    assert equal >= 24
    assert list(refused) == ["test_roialign_mode_max"]
    assert "attribute mode='max' cannot be said in MIL" in refused["test_roialign_mode_max"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("aligned", [0, 1])
def test_grids_inside_and_far_outside(mode: str, padding: str, aligned: int) -> None:
    node = of("GridSample", "g", mode=mode, padding_mode=padding, align_corners=aligned)
    feeds = {"x": X, "g": GRID}
    model = model_of([node], feeds, {"y": np.float32}, 20)
    assert_agrees(model, feeds)
    assert ("resample" in operations(model)) == (mode == "linear")


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_volumes(mode: str) -> None:
    x = RANDOM.standard_normal((1, 2, 3, 4, 5)).astype(np.float32)
    feeds = {"x": x, "g": (RANDOM.random((1, 2, 3, 2, 3)) * 3 - 1.5).astype(np.float32)}
    node = of("GridSample", "g", mode=mode, padding_mode="border")
    assert_agrees(model_of([node], feeds, {"y": np.float32}, 20), feeds)


def test_the_names_that_opset_16_had() -> None:
    feeds = {"x": X, "g": GRID}
    for mode in ("bilinear", "bicubic"):
        assert_agrees(model_of([of("GridSample", "g", mode=mode)], feeds, {"y": np.float32}, 16), feeds)


@pytest.mark.parametrize("form", ["half_pixel", "output_half_pixel"])
def test_regions_beyond_the_map(form: str) -> None:
    rois = np.array([[-8, -3, 2, 1], [1, 1, 9, 30], [0.3, 0.2, 0.4, 0.4], [2, 1, 5, 3]], np.float32)
    feeds = {"x": X, "r": rois, "b": np.array([1, 0, 1, 0])}
    attributes = {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.7}
    node = of("RoiAlign", "r", "b", coordinate_transformation_mode=form, **attributes)
    assert_agrees(model_of([node], feeds, {"y": np.float32}, 16), feeds)
    if form == "output_half_pixel":  # all that there was before opset 16
        assert_agrees(model_of([of("RoiAlign", "r", "b", **attributes)], feeds, {"y": np.float32}, 10), feeds)


def test_as_many_points_as_a_region_is_large_are_refused() -> None:
    feeds = {"x": X, "r": np.ones((1, 4), np.float32), "b": np.array([0])}
    (reason,) = problems(model_of([of("RoiAlign", "r", "b")], feeds, {"y": np.float32}, 16))
    assert "attribute sampling_ratio=0 makes the number of points depend on the regions" in reason
