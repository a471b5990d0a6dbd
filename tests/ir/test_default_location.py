"""A tensor that says that its data are where they are by default, as onnx writes it once external data were loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.ir.values import MappedValues


def test_it_stays_on_disk_and_says_so_still_when_it_is_saved(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.arange(600_000, dtype=np.float32), "w")
    weight.data_location = TensorProto.DEFAULT
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [600_000]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", infos[:1], infos[1:], [weight])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "m.onnx")
    loaded = ir.load(tmp_path / "m.onnx")
    (constant,) = loaded.constants
    assert isinstance(constant._values, MappedValues)
    assert ir.to_proto(loaded) == model
    ir.save(loaded, tmp_path / "again.onnx")
    assert onnx.load(tmp_path / "again.onnx") == model
    ir.save(loaded, tmp_path / "external.onnx", external=True)
    assert onnx.load(tmp_path / "external.onnx").graph.initializer[0].raw_data == weight.raw_data
