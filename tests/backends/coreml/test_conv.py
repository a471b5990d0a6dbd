"""Convolutions: padding written out, biases wherever they come from, and what a transposed kernel does not reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.single_nodes import case, floats, reasons, require_equal, together

X, W = floats(2, 4, 7, 6), floats(6, 4, 3, 2, seed=1)
T = floats(4, 6, 3, 2, seed=1)
B = floats(6, seed=2)
BYTES = np.random.default_rng(3).integers(0, 255, (1, 3, 6, 5)).astype(np.uint8)
KERNEL = np.random.default_rng(4).integers(0, 255, (2, 3, 3, 2)).astype(np.uint8)
CASES = {
    "same_upper": case("Conv", X, W, constant=[1], auto_pad="SAME_UPPER", strides=[2, 3]),
    "same_lower": case("Conv", X, W, constant=[1], auto_pad="SAME_LOWER", strides=[2, 1]),
    "dilated": case("Conv", X, W, B, constant=[1, 2], dilations=[2, 1], pads=[1, 0, 2, 1]),
    "computed_weight_and_bias": case("Conv", X, W, B, pads=[1, 1, 1, 1]),
    "groups_1d": case("Conv", floats(1, 4, 9), floats(8, 1, 3), constant=[1], group=4),
    "volume": case("Conv", floats(1, 2, 4, 5, 4), floats(3, 2, 2, 3, 2), constant=[1]),
    "transposed": case("ConvTranspose", X, T, B, constant=[1, 2], strides=[2, 3], pads=[1, 0, 0, 1]),
    "output_padding": case("ConvTranspose", X, T, B, constant=[1, 2], strides=[2, 3], output_padding=[1, 2]),
    "output_padding_in_padding": case(
        "ConvTranspose", X, T, constant=[1], strides=[2, 3], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "output_shape": case("ConvTranspose", X, T, B, constant=[1, 2], strides=[2, 2], output_shape=[14, 11]),
    "output_shape_upper": case(
        "ConvTranspose", X, T, constant=[1], strides=[2, 2], output_shape=[14, 11], auto_pad="SAME_UPPER"
    ),
    "transposed_same": case("ConvTranspose", X, T, constant=[1], strides=[2, 1], auto_pad="SAME_LOWER"),
    "transposed_groups": case("ConvTranspose", X, floats(4, 3, 3, 3), B, group=2, dilations=[2, 2], constant=[1, 2]),
    "integers": case(
        "ConvInteger", BYTES, KERNEL, np.array(7, np.uint8), np.array(130, np.uint8), constant=[1, 2, 3],
        pads=[1, 0, 1, 2], strides=[2, 1], opset=17,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("conv"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name], tolerance=1e-4)


def test_a_kernel_shape_that_is_not_the_weights_is_refused() -> None:
    assert "attribute kernel_shape=[3, 3]" in reasons(case("Conv", X, W, constant=[1], kernel_shape=[3, 3]))


def test_padding_that_depends_on_a_flexible_size_is_refused() -> None:
    strided = case("Conv", X, W, constant=[1], strides=[2, 2], auto_pad="SAME_UPPER")
    assert "axis 2 of 'n_x0' is flexible" in reasons(strided, d2="height")
    assert not reasons(case("Conv", X, W, constant=[1], auto_pad="SAME_UPPER"), d2="height")


def test_what_specification_and_runtime_read_differently_is_refused() -> None:
    beyond = case("ConvTranspose", X, T, constant=[1], strides=[4, 4], auto_pad="SAME_UPPER")
    assert "attribute auto_pad asks for more than the kernel reaches" in reasons(beyond)


def test_integers_in_groups_are_refused() -> None:
    grouped = case("ConvInteger", BYTES, KERNEL[:, :1], constant=[1], group=3)
    assert "attribute group" in reasons(grouped)
