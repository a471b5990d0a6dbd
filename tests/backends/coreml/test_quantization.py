"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear upon activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.packages import Package, model, refusals, run

RANDOM = np.random.default_rng(8)
FEEDS = {"x": RANDOM.standard_normal((1, 32, 5, 5)).astype(np.float32)}
SCALES = RANDOM.uniform(1e-3, 2e-3, 64).astype(np.float32)


def test_activations_of_eight_bits_need_ios17(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    scale, zero = np.float32(0.02), np.int8(3)
    given = model(nodes, {"x": [1, 32, 5, 5]}, {"y": [1, 32, 5, 5]}, s=scale, z=zero)
    package = Package(given, tmp_path / "q.mlpackage", "iOS17", "float32")
    assert package.operations["quantize"] == package.operations["dequantize"] == 1
    np.testing.assert_array_equal(package.run(FEEDS)["y"], run(given, FEEDS)[0])
    (problem,) = refusals(given, "iOS16")
    assert problem.startswith("QuantizeLinear")
    assert "target=iOS17" in problem


def test_activations_quantized_for_each_channel(tmp_path: Path) -> None:
    scale, zero = SCALES[:32] * 20, RANDOM.integers(100, 150, 32).astype(np.uint8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1),
    ]
    given = model(nodes, {"x": [1, 32, 5, 5]}, {"y": [1, 32, 5, 5]}, s=scale, z=zero)
    package = Package(given, tmp_path / "q.mlpackage", "iOS17", "float32")
    np.testing.assert_array_equal(package.run(FEEDS)["y"], run(given, FEEDS)[0])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_activations_of_sixteen_bits_are_refused(dtype: Any) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    given = model(nodes, {"x": [1, 32, 5, 5]}, {"y": [1, 32, 5, 5]}, s=np.float32(0.1), z=dtype(0))
    (problem,) = refusals(given)
    assert f"not {np.dtype(dtype).name}; quantize with --target coreml" in problem


def test_scales_that_are_computed_are_refused() -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["s"], keepdims=0),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    given = model(nodes, {"x": [1, 32, 5, 5]}, {"y": [1, 32, 5, 5]}, z=np.int8(0))
    (problem,) = refusals(given)
    assert "input 1 's' is computed by the model; it has to be constant" in problem


def test_dynamic_quantization(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    given = model(nodes, {"x": [1, 32, 5, 5]}, {"y": [1, 32, 5, 5]})
    package = Package(given, tmp_path / "d.mlpackage", "iOS17", "float32")
    np.testing.assert_allclose(package.run(FEEDS)["y"], run(given, FEEDS)[0], atol=1e-6)
