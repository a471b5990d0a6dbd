"""Resizing: every mode of interpolation, exactly, or a refusal."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.single_nodes import Array, Case, case, floats, reasons, require_equal, together

X = floats(1, 2, 5, 6)
PLACINGS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")


def resized(
    x: Array,
    sizes: list[int] | None = None,
    scales: list[float] | None = None,
    roi: list[float] | None = None,
    **attrs: Any,
) -> Case:
    given = [
        None if roi is None else np.array(roi, np.float32),
        None if scales is None else np.array(scales, np.float32),
        None if sizes is None else np.array(sizes, np.int64),
    ]
    return case("Resize", x, *given, constant=[1, 2, 3], opset=19, **attrs)


CASES = {
    **{
        f"{mode}_{placing}": resized(X, sizes=[1, 2, 7, 4], mode=mode, coordinate_transformation_mode=placing)
        for mode, placing in product(("nearest", "linear", "cubic"), PLACINGS)
    },
    **{
        f"nearest_{rounding}": resized(
            X, sizes=[1, 2, 4, 8], mode="nearest", nearest_mode=rounding, coordinate_transformation_mode="half_pixel"
        )
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    },
    "twice": resized(X, scales=[1, 1, 2, 2], mode="nearest", coordinate_transformation_mode="asymmetric"),
    "of_integers": resized((X * 9).astype(np.int32), sizes=[1, 2, 7, 4], mode="nearest"),
    "all_axes": resized(X, sizes=[3, 3, 2, 9], mode="nearest"),
    "fraction_of_scale": resized(X, scales=[1, 1, 0.7, 1.3], mode="linear"),
    "fraction_symmetric": resized(
        X, scales=[1, 1, 0.7, 1.3], mode="linear", coordinate_transformation_mode="half_pixel_symmetric"
    ),
    "antialias_linear": resized(X, sizes=[1, 2, 2, 4], mode="linear", antialias=1),
    "antialias_cubic": resized(X, sizes=[1, 2, 2, 4], mode="cubic", antialias=1, cubic_coeff_a=-0.5),
    "exclude_outside": resized(X, sizes=[1, 2, 8, 3], mode="cubic", exclude_outside=1),
    "not_larger": resized(X, sizes=[8, 7], axes=[2, 3], mode="linear", keep_aspect_ratio_policy="not_larger"),
    "not_smaller": resized(X, sizes=[8, 7], axes=[2, 3], mode="nearest", keep_aspect_ratio_policy="not_smaller"),
    "crop": resized(
        X, sizes=[1, 2, 3, 4], roi=[0, 0, 0.2, -0.1, 1, 1, 0.7, 1.2], mode="linear", extrapolation_value=5.0,
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    "one_row": resized(floats(4, 6), sizes=[4, 9], mode="cubic"),
    "upsample": case("Upsample", X, np.array([1, 1, 2, 3], np.float32), constant=[1], opset=9, mode="nearest"),
    "upsample_linear": case("Upsample", X, np.array([1, 1, 2, 3], np.float32), constant=[1], opset=9, mode="linear"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("resize"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name], tolerance=1e-4)


def test_lengths_that_are_read_in_two_ways_are_refused() -> None:
    fraction = resized(X, scales=[1, 1, 0.7, 1], mode="linear", coordinate_transformation_mode="align_corners")
    assert "attribute coordinate_transformation_mode='align_corners' with scale 0.7" in reasons(fraction)


def test_neighbours_that_hang_on_rounding_are_refused() -> None:
    halves = resized(
        X,
        scales=[1, 1, 0.8, 1],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="round_prefer_ceil",
    )
    assert "attribute nearest_mode='round_prefer_ceil'" in reasons(halves)


def test_interpolated_integers_and_unknown_modes_are_refused() -> None:
    assert "with integers" in reasons(resized((X * 9).astype(np.int32), sizes=[1, 2, 7, 4], mode="linear"))
    assert "mode='area'" in reasons(resized(X, sizes=[1, 2, 7, 4], mode="area"))


def test_a_flexible_shape_is_resized_by_whole_factors_only() -> None:
    assert not reasons(resized(X, scales=[1, 1, 2, 2], mode="linear"), d2="height", d3="width")
    assert "of a flexible shape" in reasons(resized(X, scales=[1, 1, 1.5, 2], mode="linear"), d2="height")
    assert "give scales" in reasons(resized(X, sizes=[1, 2, 7, 4], mode="linear"), d2="height")
    assert not reasons(resized(X, scales=[1, 1, 0.7, 1.3], mode="cubic"), d0="batch")
