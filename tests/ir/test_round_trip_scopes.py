"""Load and save keep attributes of every kind, functions and subgraphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto as A
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxopt import ir
from tests.ir.round_trip import FLOAT, assert_round_trip, small_model


def every_kind_of_attribute() -> list[A]:
    tensor = numpy_helper.from_array(np.arange(4.0, dtype=np.float32), "inside")
    tensor.doc_string = "of the tensor"
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("s", FLOAT, [1], [1.0]), helper.make_tensor("", TensorProto.INT64, [1], [7]), [3, 3]
    )
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"], doc_string="reads an outer value")],
        "body",
        [],
        [helper.make_empty_tensor_value_info("inner")],
    )
    type_ = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    values = [3, 0, -(2**63), 1.5, 0.0, float("nan"), "text", b"\xff\xfe", "", tensor, graph, sparse, type_]
    values += [[1, 2], [1.0, -0.0, float("inf")], ["a", b"\xff"], [tensor] * 2, [graph] * 2, [sparse] * 2, [type_] * 2]
    attributes = [helper.make_attribute(f"a{index}", value) for index, value in enumerate(values)]
    lists = (A.FLOATS, A.INTS, A.STRINGS, A.TENSORS, A.GRAPHS, A.SPARSE_TENSORS, A.TYPE_PROTOS)
    attributes += [A(name=f"no{code}", type=code) for code in lists]
    attributes += [A(name=f"unset{code}", type=code) for code in (A.INT, A.FLOAT, A.STRING)]  # proto3 writers skip 0
    attributes += [A(name="old", i=3), A(name="old_list", floats=[1.0])]  # files before IR version 2 give no type
    attributes[0].doc_string = "documented"
    attributes[-3].doc_string = ""
    return attributes


def test_attributes_of_every_kind(tmp_path: Path) -> None:
    model = small_model()
    model.graph.node[0].attribute.extend(every_kind_of_attribute())
    node = assert_round_trip(model, tmp_path).nodes[0]
    assert node.attrs["a6"] == "text" and node.attrs["a7"] == b"\xff\xfe" and node.attrs["unset2"] == 0
    node.attrs["unset2"] = 5
    saved = {attribute.name: attribute for attribute in ir.to_proto(node_graph(node, model)).graph.node[0].attribute}
    assert saved["unset2"].i == 5


def node_graph(node: ir.Node, model: ModelProto) -> ir.Graph:
    """A graph around one node that was taken out of a model."""
    graph = ir.from_proto(model)
    graph.nodes[:] = [node]
    graph.outputs = list(node.outputs)
    return graph


def model_with_functions() -> ModelProto:
    opset = [helper.make_opsetid("", 13), helper.make_opsetid("my", 2)]
    reference = A(name="alpha", type=A.FLOAT, ref_attr_name="slope")
    tensor_reference = A(name="value", type=A.TENSOR, ref_attr_name="table")
    tensor_reference.t.CopyFrom(helper.make_tensor("", FLOAT, [1], [0.0]))  # as graphsurgeon writes it, for viewers
    leaky, table = NodeProto(op_type="LeakyRelu"), NodeProto(op_type="Constant")
    leaky.input.append("a"), leaky.output.append("b"), leaky.attribute.append(reference)
    table.output.append("c"), table.attribute.append(tensor_reference)
    functions = []
    for overload in ("", "second"):
        function = helper.make_function(
            "my", "Scaled", ["a", "unread"], ["b", "c", "a"], [leaky, table], opset, ["table"],
            [helper.make_attribute("slope", 0.5)], doc_string="a function",
        )  # fmt: skip
        function.overload = overload
        function.metadata_props.add(key="of", value="function")
        for name, shape in (("a", ["N"]), ("b", ["N"]), ("c", [1]), ("stale", [7])):
            function.value_info.append(helper.make_tensor_value_info(name, FLOAT, shape))
        functions.append(function)
    bare = onnx.FunctionProto(name="Bare", node=[helper.make_node("Identity", ["a"], ["b"])], opset_import=opset[:1])
    bare.input.append("a"), bare.output.append("b")
    calls = [
        helper.make_node("Scaled", ["x", ""], ["y", "", ""], domain="my", overload="second", name="call"),
        helper.make_node("Scaled", ["x"], ["z"], domain="my"),
    ]
    calls[0].attribute.append(helper.make_attribute("table", numpy_helper.from_array(np.ones(1, np.float32))))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(calls, "g", [value("x", FLOAT, [2])], [value("y", FLOAT, [2]), value("z", FLOAT, [2])])
    return helper.make_model(graph, functions=[*functions, bare], opset_imports=opset, ir_version=10)


def test_functions_with_overloads_references_and_value_infos(tmp_path: Path) -> None:
    graph = assert_round_trip(model_with_functions(), tmp_path)
    assert [function.overload for function in graph.functions] == ["", "second", ""]
    assert graph.functions[0].opset_of("my") == 2 and graph.functions[0].inputs[0].shape == ["N"]
    assert isinstance(graph.functions[0].nodes[0].attrs["alpha"], ir.Node.AttributeRef)


def test_a_subgraph_in_a_function_has_the_functions_opsets() -> None:
    model = model_with_functions()
    branch = helper.make_graph([], "branch", [], [helper.make_empty_tensor_value_info("a")])
    model.functions[0].node.append(helper.make_node("If", ["a"], ["d"], then_branch=branch, else_branch=branch))
    model.opset_import[0].version = 17
    graph = ir.from_proto(model)
    assert graph.opset == 17
    assert [subgraph.opset for subgraph in graph.functions[0].subgraphs()] == [13, 13]


def nested(depth: int) -> GraphProto:
    """Subgraphs in subgraphs, each with an initializer of its own; the innermost reads the outermost values."""
    name = f"level{depth}"
    nodes = [helper.make_node("Add", ["x", f"{name}_w"], [name])]
    if depth:
        branches = {"then_branch": nested(depth - 1), "else_branch": nested(depth - 1)}
        nodes = [helper.make_node("If", ["c"], [f"{name}_if"], **branches), *nodes]
    weight = numpy_helper.from_array(np.ones(2, np.float32), f"{name}_w")
    return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(name)], [weight])


def test_subgraphs_that_read_outer_values(tmp_path: Path) -> None:
    graph = nested(3)
    graph.input.append(helper.make_tensor_value_info("x", FLOAT, [2]))
    graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert_round_trip(helper.make_model(graph), tmp_path)


def test_a_graph_output_that_is_an_input_an_initializer_or_given_out_by_a_subgraph(tmp_path: Path) -> None:
    model = small_model()
    model.graph.output.append(helper.make_tensor_value_info("x", FLOAT, ["M", 2]))
    model.graph.output.append(helper.make_tensor_value_info("w", FLOAT, ["K"]))
    model.graph.value_info.append(helper.make_tensor_value_info("w", FLOAT, [2]))
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("h", FLOAT, ["B", 2])])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    model.graph.node.append(helper.make_node("Relu", ["y"], ["h"]))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert_round_trip(model, tmp_path)
