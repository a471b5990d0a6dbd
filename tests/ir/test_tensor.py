"""Variables and constants: what they say of themselves, and what reading and writing their values does."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel
from onnxopt.ir.values import SparseValues
from tests.passes.checks import parse


def test_a_variable_takes_dtypes_as_graphsurgeon_does() -> None:
    assert ir.Variable("x", np.float32).dtype == np.dtype("float32")
    assert ir.Variable("x", TensorProto.BFLOAT16).dtype == np.dtype(ml_dtypes.bfloat16)
    assert ir.Variable("x", dtype="int8", shape=(1, "N", None)).shape == [1, "N", None]
    assert ir.Variable("x").dtype is None and ir.Variable("x").shape is None
    assert ir.Variable.empty().is_empty()


def test_a_constant_takes_arrays_only() -> None:
    with pytest.raises(TypeError, match="constant 'c' must be a numpy array, not list"):
        ir.Constant("c", [1, 2])  # type: ignore[arg-type]


def test_a_constant_is_of_a_type_that_onnx_has() -> None:
    with pytest.raises(TypeError, match="constant 'c': ONNX has no element type for numpy's datetime64"):
        ir.Constant("c", np.array(["2020-01-01"], "datetime64[D]"))


def test_reading_does_not_count_as_touching_and_cannot_write() -> None:
    constant = ir.Constant("c", np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        constant.read()[0] = 2
    constant.values[0] = 2
    assert constant.read().tolist() == [2, 1, 1]


def test_values_of_a_file_become_an_array_of_ones_own() -> None:
    graph = parse(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (y) <float[2] w = {1, 2}> { y = Add(x, w) }'
    )
    constant = graph.constants[0]
    assert not constant.is_new
    constant.read()
    assert not constant.is_new
    constant.values[0] = 5
    assert constant.is_new
    assert numpy_helper.to_array(ir.to_proto(graph).graph.initializer[0]).tolist() == [5, 2]


@pytest.mark.parametrize(
    ("dtype", "bytes_"),
    [(np.float32, 12), (ml_dtypes.int4, 2), (ml_dtypes.float8_e4m3fn, 3), (np.bool_, 3), (object, 0)],
)
def test_bytes_are_those_of_the_file(dtype: type, bytes_: int) -> None:
    assert ir.Constant("c", np.zeros(3, dtype)).nbytes == bytes_


def test_strings_are_objects_whatever_numpy_makes_of_them() -> None:
    for array in (np.array(["a", "ü"]), np.array(["a", "ü"], object), np.array([b"a", "ü".encode()], object)):
        graph = ir.Graph([ir.Node("Identity", inputs=[ir.Constant("c", array)], outputs=[ir.Variable("y")])])
        graph.outputs = list(graph.nodes[0].outputs)
        saved = ir.to_proto(graph).graph.initializer[0]
        assert saved.data_type == TensorProto.STRING and list(saved.string_data) == [b"a", "ü".encode()]


def test_a_variable_becomes_a_constant_and_back_with_its_links() -> None:
    x = ir.Variable("x", np.float32, ["N"])
    node = ir.Node("Neg", inputs=[x], outputs=[ir.Variable("y")])
    constant = x.to_constant(np.ones(2, np.int64))
    assert constant is x and isinstance(x, ir.Constant) and x.outputs == [node] and x.shape == (2,)
    variable = constant.to_variable()
    assert variable is x and isinstance(x, ir.Variable) and x.dtype == np.int64 and x.shape == [2]
    assert constant.to_constant(np.ones(1)).to_variable(np.float16, ["M"]).shape == ["M"]


def test_copies_share_values_until_one_of_them_writes() -> None:
    original = ir.Constant("c", np.ones(3))
    twin = original.copy()
    assert np.shares_memory(original.read(), twin.read())
    twin.values *= 2
    assert original.read().tolist() == [1, 1, 1] and twin.read().tolist() == [2, 2, 2]
    original.values[0] = 7
    assert twin.read().tolist() == [2, 2, 2]


def test_the_default_of_an_input_is_copied_with_it() -> None:
    variable = ir.Variable("x")
    variable.default = ir.Constant("x", np.ones(1))
    twin = variable.copy()
    assert twin.default is not None and twin.default is not variable.default


def test_an_export_dtype_is_written() -> None:
    constant = ir.Constant("c", np.ones(2, np.float32), export_dtype=TensorProto.BFLOAT16)
    graph = ir.Graph([ir.Node("Identity", inputs=[constant], outputs=[ir.Variable("y")])])
    graph.outputs = list(graph.nodes[0].outputs)
    assert ir.to_proto(graph).graph.initializer[0].data_type == TensorProto.BFLOAT16
    constant._export_dtype = None
    loaded = ir.from_proto(ir.to_proto(graph))
    loaded.constants[0]._export_dtype = np.dtype(np.float16)
    assert ir.to_proto(loaded).graph.initializer[0].data_type == TensorProto.FLOAT16


def sparse(indices: list[int], shape: list[int], values: int = 2, rank: int = 1) -> SparseValues:
    dims = [values] if rank == 1 else [values, rank]
    return SparseValues(
        helper.make_sparse_tensor(
            helper.make_tensor("s", TensorProto.FLOAT, [values], [1.0] * values),
            helper.make_tensor("", TensorProto.INT64, dims, indices),
            shape,
        )
    )


def test_a_sparse_tensor_costs_nothing_until_it_is_read() -> None:
    values = sparse([3, 5], [10**6, 10**6])
    assert values.shape == (10**6, 10**6)
    assert isinstance(values, gs.ir.tensor.SparseValues)


@pytest.mark.parametrize(("indices", "rank"), [([0, 9], 1), ([-1, 0], 1), ([0, 0, 0, 3], 2), ([0, -1, 0, 0], 2)])
def test_a_sparse_tensor_with_indices_outside_names_itself(indices: list[int], rank: int) -> None:
    with pytest.raises(BadModel, match=r"sparse tensor 's' of shape \[3, 3\]"):
        sparse(indices, [3, 3], rank=rank).read()


@pytest.mark.parametrize(
    ("indices", "rank", "values"), [([0], 1, 1), ([0, 1, 2, 3], 4, 1), ([0, 1, 2, 3, 4, 5], 3, 2)], ids=str
)
def test_a_sparse_tensors_indices_fit_its_values_and_rank(indices: list[int], rank: int, values: int) -> None:
    if rank == 1:
        assert sparse(indices, [3, 3], values).read().sum() == 1
        return
    with pytest.raises(BadModel, match=r"expected \[NNZ\]"):
        sparse(indices, [3, 3], values, rank)


def test_strings_that_are_not_utf_8_can_be_read_and_written_back() -> None:
    tensor = helper.make_tensor("s", TensorProto.STRING, [1], [b"\xff"])
    graph = ir.Graph([ir.Node("Identity", inputs=[ir.Constant("s", np.array([""]))], outputs=[ir.Variable("y")])])
    graph.outputs = list(graph.nodes[0].outputs)
    proto = ir.to_proto(graph)
    proto.graph.initializer[0].CopyFrom(tensor)
    again = ir.from_proto(proto)
    again.constants[0].values = again.constants[0].values.copy()
    assert ir.to_proto(again).graph.initializer[0].string_data[0] == b"\xff"
