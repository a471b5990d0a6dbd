"""Element types that a file leaves open; numpy finds None equal to float64, so that one is where it goes wrong."""

import numpy as np
import onnx.parser
import pytest
from onnx import TensorProto

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.shapes import infer_shapes


def test_unknown_is_not_float64():
    assert np.dtype("float64") == None  # noqa: E711  what the comparison guards against
    assert not dtypes.same(None, np.dtype("float64")) and not dtypes.same(np.dtype("float64"), None)
    assert dtypes.same(None, None) and dtypes.same(np.dtype("float64"), np.dtype("float64"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_a_type_that_a_pass_found_is_written(dtype):
    graph = ir.from_proto(
        onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]> agraph ({_NAMES[dtype]}[2] x) => ({_NAMES[dtype]}[2] y) {{
            hidden = Identity (x)
            y = Identity (hidden)
        }}""")
    )
    hidden = graph.nodes[0].outputs[0]
    hidden.dtype, hidden.shape = np.dtype(dtype), [2]
    (info,) = ir.to_proto(graph).graph.value_info
    assert info.type.tensor_type.elem_type == dtypes.to_onnx(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_initializer_that_ir_version_3_lists_as_an_input_is_declared(dtype):
    graph = ir.from_proto(
        onnx.parser.parse_model(f"""
        <ir_version: 3, opset_import: ["": 7]> agraph ({_NAMES[dtype]}[2] x) => ({_NAMES[dtype]}[2] y) {{
            one = Constant <value = {_NAMES[dtype]} {{1}}> ()
            y = Add (x, one)
        }}""")
    )
    constant, add = graph.nodes
    with ir.edit(graph) as edit:
        edit.replace_input(add, 1, ir.Constant("weight", constant.attrs["value"].read()))
        edit.remove(constant)
    listed = {info.name: info.type.tensor_type.elem_type for info in ir.to_proto(graph).graph.input}
    assert listed == {"x": dtypes.to_onnx(dtype), "weight": dtypes.to_onnx(dtype)}
    assert TensorProto.UNDEFINED not in listed.values()


_NAMES = {"float32": "float", "float64": "double", "int64": "int64"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inference_declares_a_type_that_alone_is_open(dtype):
    name = _NAMES[dtype]
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]> agraph ({name}[N] x) => ({name}[N] y) <{name}[N] hidden> {{
            hidden = Relu (x)
            y = Neg (hidden)
        }}""")
    model.graph.value_info[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
    graph = ir.from_proto(model)
    infer_shapes(graph)
    assert graph.nodes[0].outputs[0].dtype == np.dtype(dtype) and graph.nodes[0].outputs[0].dtype is not None
