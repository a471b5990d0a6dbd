"""There and back again: what every model that is loaded and saved is held to."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.same_model import difference
from onnxopt import ir

FLOAT = TensorProto.FLOAT
LOAD = import_module("onnxopt.ir.load")


def assert_round_trip(model: ModelProto, tmp_path: Path) -> ir.Graph:
    """Through files, with the weights parsed and with the weights left in the file, and as a copy in memory."""
    given, saved = tmp_path / "given.onnx", tmp_path / "saved.onnx"
    given.write_bytes(model.SerializeToString())
    for least in (0, LOAD._IN_PLACE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LOAD, "_IN_PLACE", least)
            patch.setattr(LOAD, "_LARGE", 1)
            graph = ir.load(given)
        ir.save(graph, saved, sync=False)
        assert difference(model, ModelProto.FromString(saved.read_bytes())) == ""
        assert difference(model, ir.to_proto(graph.copy())) == ""
    return graph


def small_model(**fields: object) -> ModelProto:
    """y = x + w."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"], name="add")],
            "graph",
            [helper.make_tensor_value_info("x", FLOAT, ["N", 2])],
            [helper.make_tensor_value_info("y", FLOAT, ["N", 2])],
            [numpy_helper.from_array(np.ones(2, np.float32), "w")],
        ),
        **fields,
    )
