"""Pooling: `ceil_mode`, `count_include_pad`, dilations and `auto_pad` as ONNX has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.single_nodes import case, floats, reasons, require_equal, together

X = floats(1, 2, 7, 8)
ODD: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1]}
CASES = {
    "largest": case("MaxPool", X, opset=12, **ODD),
    "largest_ceil": case("MaxPool", X, opset=12, ceil_mode=1, **ODD),
    "largest_beyond": case("MaxPool", floats(1, 1, 4), opset=12, kernel_shape=[1], strides=[2], ceil_mode=1),
    "largest_dilated": case("MaxPool", X, opset=12, dilations=[2, 3], ceil_mode=1, **ODD),
    "largest_same": case("MaxPool", X, opset=12, kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    "largest_bytes": case(
        "MaxPool", (X * 50 + 128).clip(0, 255).astype(np.uint8), opset=12, kernel_shape=[2, 2], strides=[1, 2]
    ),
    "mean": case("AveragePool", X, opset=11, **ODD),
    "mean_ceil": case("AveragePool", X, opset=19, ceil_mode=1, **ODD),
    "mean_padding_counts": case("AveragePool", X, opset=19, count_include_pad=1, **ODD),
    "mean_padding_counts_ceil": case("AveragePool", X, opset=19, count_include_pad=1, ceil_mode=1, **ODD),
    "mean_dilated": case("AveragePool", X, opset=19, dilations=[2, 3], **ODD),
    "mean_dilated_padding_counts": case(
        "AveragePool", X, opset=19, dilations=[2, 2], count_include_pad=1, ceil_mode=1, **ODD
    ),
    "mean_volume": case("AveragePool", floats(1, 2, 4, 5, 6), opset=19, kernel_shape=[2, 2, 3], ceil_mode=1),
    "norm_1": case("LpPool", X, p=1, **ODD),
    "norm_2": case("LpPool", X, ceil_mode=1, **ODD),
    "norm_3": case("LpPool", X, p=3, dilations=[1, 2], **ODD),
    "all_largest": case("GlobalMaxPool", X),
    "all_mean": case("GlobalAveragePool", floats(2, 3, 5)),
    "all_norm": case("GlobalLpPool", X, p=3),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("pool"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name])


def test_the_places_of_the_maxima_are_refused() -> None:
    assert "output 1" in reasons(case("MaxPool", X, outputs=2, kernel_shape=[2, 2]))
    assert "attribute storage_order=1" in reasons(case("MaxPool", X, kernel_shape=[2, 2], storage_order=1))


def test_what_specification_and_runtime_read_differently_is_refused() -> None:
    gaps = case("MaxPool", X, kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_UPPER")
    assert "attribute dilations with auto_pad='SAME_UPPER'" in reasons(gaps)
    ceil = case("MaxPool", X, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, auto_pad="VALID")
    assert "attribute ceil_mode=1 with auto_pad='VALID'" in reasons(ceil)


def test_flexible_sizes_are_taken_where_nothing_hangs_on_them() -> None:
    assert not reasons(case("MaxPool", X, **ODD), d2="height")
    assert "flexible" in reasons(case("MaxPool", X, ceil_mode=1, **ODD), d2="height")
    assert not reasons(CASES["mean_dilated_padding_counts"], d0="batch")
