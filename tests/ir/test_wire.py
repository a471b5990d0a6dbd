"""Model files whose weights stay where they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel
from onnxopt.ir.mapped_file import MappedFile
from onnxopt.ir.values import InlineValues, MappedValues
from onnxopt.ir.wire import Malformed, WeightsInPlace


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model file keep its weights."""
    loading = sys.modules["onnxopt.ir.load"]  # `onnxopt.ir.load` is the function
    monkeypatch.setattr(loading, "_IN_PLACE", 1)
    monkeypatch.setattr(loading, "_LARGE", 1)


def write(path: Path, elements: int = 1000) -> ModelProto:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=elements).astype(np.float32), f"w{number}") for number in range(3)
    ]
    weights[1].doc_string = "in the middle"
    typed = TensorProto(name="typed", dims=[2], data_type=TensorProto.FLOAT, float_data=[1, 2])
    shape = ["N", elements]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w0"], ["a"]), helper.make_node("Mul", ["a", "w1"], ["y"], "last")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [*weights, typed],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, doc_string="model")
    path.write_bytes(model.SerializeToString())
    return model


@pytest.mark.usefixtures("in_place")
def test_weights_stay_in_the_file_and_are_read_from_there(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    graph = ir.load(tmp_path / "m.onnx")
    kinds = {constant.name: type(constant._values) for constant in graph.constants}
    assert kinds == {"w0": MappedValues, "w1": MappedValues, "w2": MappedValues, "typed": InlineValues}
    for constant, tensor in zip(graph.constants, model.graph.initializer, strict=True):
        np.testing.assert_array_equal(constant.read(), numpy_helper.to_array(tensor))
    assert ir.to_proto(graph) == model


@pytest.mark.usefixtures("in_place")
def test_saved_again_the_model_is_equal_and_stays_in_one_file(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    ir.save(ir.load(tmp_path / "m.onnx"), tmp_path / "again.onnx")
    assert ModelProto.FromString((tmp_path / "again.onnx").read_bytes()) == model
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.onnx", "m.onnx"]


@pytest.mark.usefixtures("in_place")
def test_a_model_can_be_saved_over_itself_and_edited(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx")
    graph = ir.load(tmp_path / "m.onnx")
    graph.nodes[1].inputs[1].values *= 2  # one weight is replaced, the others are copied
    ir.save(graph, tmp_path / "m.onnx")
    again = ir.load(tmp_path / "m.onnx")
    assert ir.fingerprint(again) == ir.fingerprint(graph)
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)


@pytest.mark.usefixtures("in_place")
def test_weights_that_came_from_the_model_can_go_into_a_file_of_their_own_and_back(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    ir.save(ir.load(tmp_path / "m.onnx"), tmp_path / "out.onnx", external=True)
    assert (tmp_path / "out.onnx.data").stat().st_size > 12_000
    ir.save(ir.load(tmp_path / "out.onnx"), tmp_path / "back.onnx", external=False)
    assert ModelProto.FromString((tmp_path / "back.onnx").read_bytes()) == model


@pytest.mark.usefixtures("in_place")
def test_a_weight_that_a_pass_moved_into_an_attribute_is_written_there(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx")
    graph = ir.load(tmp_path / "m.onnx")
    weight = graph.constants[0]
    made = ir.Variable("made", weight.dtype, weight.shape)
    graph.nodes.insert(0, ir.Node("Constant", "c", {"value": ir.Constant("", weight._values)}, outputs=[made]))
    graph.nodes[1].inputs[1] = made
    ir.save(graph, tmp_path / "out.onnx")
    assert ir.fingerprint(ir.load(tmp_path / "out.onnx")) == ir.fingerprint(graph)


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("keep", [3, 50, 4000, 9000, -1])
def test_a_truncated_file_is_refused_as_ever(tmp_path: Path, keep: int) -> None:
    write(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes((tmp_path / "m.onnx").read_bytes()[:keep])
    with pytest.raises(BadModel, match=r"m\.onnx: truncated, or not an ONNX file"):
        ir.load(tmp_path / "m.onnx")


@pytest.mark.usefixtures("in_place")
def test_a_file_cannot_pose_as_the_reference_to_its_own_weights(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "0" * 32), ("offset", "0"), ("length", "4000")):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadModel, match="not beside the model"):
        ir.load(tmp_path / "m.onnx")


def test_any_bytes_are_malformed_or_a_message(tmp_path: Path) -> None:
    """What is cut out is put together again by protobuf alone, so the two must agree on every message."""
    model = write(tmp_path / "m.onnx", 64)
    good = (tmp_path / "m.onnx").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(500):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), 3):
            bad[place] = rng.integers(256)
        (tmp_path / "bad.onnx").write_bytes(bad)
        try:
            WeightsInPlace(MappedFile(tmp_path / "bad.onnx")).skeleton(64)
        except Malformed:
            continue
    assert ModelProto.FromString(WeightsInPlace(MappedFile(tmp_path / "m.onnx")).skeleton(1 << 30)) == model


def test_a_large_model_costs_the_memory_of_its_graph(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", 12_000_000)  # 144 MB
    code = (
        "import resource, sys; from onnxopt import ir;"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "ir.save(ir.load(sys.argv[1]), sys.argv[2]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx"), str(tmp_path / "out.onnx")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 16_000  # KiB; the model has 140,000
    assert (tmp_path / "out.onnx").stat().st_size == (tmp_path / "m.onnx").stat().st_size
