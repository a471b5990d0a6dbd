"""Load and save keep every element type, in whichever field its numbers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from tests.ir.round_trip import FLOAT, assert_round_trip, small_model


@pytest.mark.parametrize("code", sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}))
@pytest.mark.parametrize("raw", [True, False], ids=["raw_data", "typed_field"])
def test_every_element_type_in_either_field(code: int, raw: bool, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(code)
    if code == TensorProto.STRING:
        tensor = helper.make_tensor("w", code, [3], [b"a", "ü".encode(), b"\xff\xfe not UTF-8"])
    else:
        array = np.array([1, 0, 1], np.float32).astype(dtype)
        tensor = numpy_helper.from_array(array, "w")
        if not raw:
            tensor = _in_typed_field(tensor)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["w"], ["y"])],
            "g",
            [],
            [helper.make_tensor_value_info("y", code, [3])],
            [tensor],
        )
    )
    graph = assert_round_trip(model, tmp_path)
    constant = graph.nodes[0].inputs[0]
    assert constant.dtype == dtype and constant.shape == (3,)
    before = constant.read().tolist()
    constant.values = constant.values.copy()  # touched: written anew, and still the same
    saved = ir.from_proto(ir.to_proto(graph)).nodes[0].inputs[0]
    assert saved.dtype == dtype and str(saved.read().tolist()) == str(before)  # as text: NaN is not NaN


def _in_typed_field(tensor: TensorProto) -> TensorProto:
    """The same tensor with its numbers in `float_data`, `int32_data`, ...: as onnx.proto lays them out."""
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    code = tensor.data_type
    if code in (TensorProto.FLOAT, TensorProto.COMPLEX64):
        tensor.float_data.extend(np.frombuffer(raw, np.float32))
    elif code in (TensorProto.DOUBLE, TensorProto.COMPLEX128):
        tensor.double_data.extend(np.frombuffer(raw, np.float64))
    elif code == TensorProto.INT64:
        tensor.int64_data.extend(np.frombuffer(raw, np.int64))
    elif code in (TensorProto.UINT32, TensorProto.UINT64):
        tensor.uint64_data.extend(np.frombuffer(raw, helper.tensor_dtype_to_np_dtype(code)))
    else:
        width = {TensorProto.INT32: np.int32, TensorProto.INT16: np.int16, TensorProto.UINT16: np.uint16}
        two_bytes = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        tensor.int32_data.extend(np.frombuffer(raw, width.get(code, np.uint16 if code in two_bytes else np.uint8)))
    return tensor


@pytest.mark.parametrize("linear", [True, False], ids=["linear_indices", "coordinates"])
def test_sparse_initializers(linear: bool, tmp_path: Path) -> None:
    values = helper.make_tensor("w", FLOAT, [2], [1.5, 2.5])
    indices = helper.make_tensor("i", TensorProto.INT64, [2] if linear else [2, 2], [1, 5] if linear else [0, 1, 1, 2])
    model = small_model()
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    graph = assert_round_trip(model, tmp_path)
    np.testing.assert_array_equal(graph.nodes[0].inputs[1].read(), [[0, 1.5, 0], [0, 0, 2.5]])
