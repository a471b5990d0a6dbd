"""Names and small constants inside a program: most of its bytes, and none of its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.packages import Package, model, run

RANDOM = np.random.default_rng(3)
WEIGHTS = {name: RANDOM.standard_normal((8, 8, 3, 3)).astype(np.float32) for name in ("first.weight", "second.weight")}
FEEDS = {"x": RANDOM.standard_normal((1, 8, 9, 9)).astype(np.float32)}


def convolutions(output: str = "y") -> Any:
    """Two in a row, with the same strides and padding."""
    nodes = [
        helper.make_node("Conv", ["x", "first.weight"], ["between"], name="first"),
        helper.make_node("Conv", ["between", "second.weight"], [output], name="second"),
    ]
    return model(nodes, {"x": [1, 8, 9, 9]}, {output: [1, 8, 5, 5]}, **WEIGHTS)


def names(package: Package, kind: str) -> list[str]:
    operations = package.spec.mlProgram.functions["main"].block_specializations
    return [each.outputs[0].name for block in operations.values() for each in block.operations if each.type == kind]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_operations_are_called_as_in_the_onnx_model(precision: str, tmp_path: Path) -> None:
    package = Package(convolutions(), tmp_path / "m.mlpackage", "iOS17", precision)
    assert names(package, "conv")[0] == "between"
    assert {"first_weight", "second_weight"} <= set(names(package, "const"))


def test_arguments_that_are_equal_are_one_constant(tmp_path: Path) -> None:
    package = Package(convolutions(), tmp_path / "m.mlpackage", "iOS17", "float32")
    arguments = [name for name in names(package, "const") if "weight" not in name]
    assert len(arguments) == len(set(arguments)) == 4  # strides and dilations are the same two ones; pads, kind, group
    assert all(len(name) <= 3 for name in arguments)
    np.testing.assert_allclose(package.run(FEEDS)["y"], run(convolutions(), FEEDS)[0], rtol=1e-4, atol=1e-4)


def test_outputs_keep_their_names_whatever_they_end_in(tmp_path: Path) -> None:
    package = Package(convolutions("y_cast_fp16"), tmp_path / "m.mlpackage", "iOS17", "float16")
    assert list(package.run(FEEDS)) == ["y_cast_fp16"]


def test_no_name_is_taken_from_another_tensor(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["c0"]), helper.make_node("Conv", ["c0", "first.weight"], ["c1"])]
    given = model(nodes, {"x": [1, 8, 9, 9]}, {"c1": [1, 8, 7, 7]}, **{"first.weight": WEIGHTS["first.weight"]})
    package = Package(given, tmp_path / "m.mlpackage", "iOS17", "float32")
    everything = [name for kind in ("const", "relu", "conv") for name in names(package, kind)]
    assert len(everything) == len(set(everything))
    np.testing.assert_allclose(package.run(FEEDS)["c1"], run(given, FEEDS)[0], rtol=1e-4, atol=1e-4)


def test_a_zero_is_not_a_negative_zero(tmp_path: Path) -> None:
    """1 / max(x, -0) and 1 / max(x, 0) are infinities of different signs, where they are told apart at all."""
    nodes = [helper.make_node("Add", ["x", "p"], ["a"]), helper.make_node("Mul", ["x", "n"], ["b"])]
    constants = {"p": np.array([0.0], np.float32), "n": np.array([-0.0], np.float32)}
    given = model(nodes, {"x": [2]}, {"a": [2], "b": [2]}, **constants)
    found = Package(given, tmp_path / "m.mlpackage", "iOS17", "float32").run({"x": np.ones(2, np.float32)})
    assert np.signbit(found["b"]).all()


def test_branches_have_arguments_of_their_own(tmp_path: Path) -> None:
    branches = {}
    for key, low in (("then_branch", 0.0), ("else_branch", -1.0)):
        bounds = [
            helper.make_node("Constant", [], [f"{key}_{end}"], value_float=value)
            for end, value in (("low", low), ("high", 1.0))
        ]
        clip = helper.make_node("Clip", ["x", f"{key}_low", f"{key}_high"], [f"{key}_y"])
        output = helper.make_tensor_value_info(f"{key}_y", 1, [4])
        branches[key] = helper.make_graph([*bounds, clip], key, [], [output])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["is_more"]),
        helper.make_node("If", ["is_more"], ["y"], **branches),
    ]
    given = model(nodes, {"x": [4]}, {"y": [4]}, zero=np.float32(0))
    package = Package(given, tmp_path / "m.mlpackage", "iOS17", "float32")
    for sign in (1, -1):
        feeds = {"x": np.array([2, -0.5, 0.5, 1], np.float32) * sign}
        np.testing.assert_array_equal(package.run(feeds)["y"], run(given, feeds)[0])
