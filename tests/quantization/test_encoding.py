"""Encodings compute what onnx's reference evaluator and onnxruntime compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt.quantization.encoding import TYPES, Encoding, Integer
from onnxopt.runtime.session import Session


def model(encoding: Encoding, shape: tuple[int, ...]) -> onnx.ModelProto:
    attributes: dict[str, Any] = {} if encoding.axis is None else {"axis": encoding.axis}
    if encoding.block is not None:
        attributes["block_size"] = encoding.block
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    constants = [numpy_helper.from_array(encoding.scale, "s"), numpy_helper.from_array(encoding.zero_point, "z")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("int32", "int4", "uint4")])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_a_round_trip_is_onnxruntimes(name: str, symmetric: bool, axis: int | None) -> None:
    values = np.random.default_rng(0).normal(0.5, 2, (4, 6)).astype(np.float32)
    over = None if axis is None else 1 - axis % 2
    encoding = Encoding.of_range(values.min(over), values.max(over), Integer(name, symmetric), axis)
    np.testing.assert_array_equal(
        encoding.round_trip(values * 1.2), Session(model(encoding, values.shape)).run({"x": values * 1.2})["y"]
    )


@pytest.mark.parametrize("name", ["int4", "int8"])
def test_blocks_are_onnxruntimes(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    blocks = values.reshape(3, 3, 2)
    encoding = Encoding.of_range(blocks.min(2), blocks.max(2), Integer(name, True), axis=1, block=2)
    np.testing.assert_array_equal(
        encoding.round_trip(values), Session(model(encoding, values.shape)).run({"x": values})["y"]
    )


@pytest.mark.parametrize("integer", [Integer("uint8", False), Integer("int8", True), Integer("uint8", True)])
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-3.0, 1.0), (2.0, 5.0), (-5.0, -2.0), (0.0, 0.0)])
def test_zero_stays_zero_and_the_ends_are_met(integer: Integer, low: float, high: float) -> None:
    encoding = Encoding.of_range(low, high, integer)
    kept = encoding.round_trip([0.0, low, high])
    assert kept[0] == 0.0
    np.testing.assert_allclose(kept[1:], [low, high], atol=float(encoding.scale))


def test_symmetric_types_leave_out_the_smallest_integer() -> None:
    assert Integer("int8", True).limits == (-127, 127)
    assert Integer("int8", False).limits == (-128, 127)
    assert Integer("uint8", True).limits == (0, 255)
    encoding = Encoding.of_range(-1.0, 1.0, Integer("uint8", True))
    assert encoding.zero_point == 128
    assert Encoding.of_range(-1.0, 1.0, Integer("int8", True)).zero_point == 0
