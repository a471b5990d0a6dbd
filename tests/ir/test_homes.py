"""Where constants are written, and under which names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel
from tests.passes.checks import run

HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
BRANCHES = """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
    a = Add(x, w)
    y = If (c) <then_branch = t () => (float[2] p) <float[2] v = {3, 4}> { q = Neg(a) p = Mul(q, v) },
                else_branch = e () => (float[2] r) { r = Abs(a) }>
}"""


def parse(text: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}"))


def new(name: str) -> ir.Constant:
    return ir.Constant(name, np.ones(2, np.float32))


def initializers(graph: ir.Graph) -> dict[str, list[str]]:
    """The names of the initializers, by the name of their graph."""
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    found = {}

    def walk(proto: onnx.GraphProto) -> None:
        found[proto.name] = [tensor.name for tensor in proto.initializer]
        for node in proto.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)

    walk(ir.to_proto(graph).graph)
    return found


def test_constants_stay_where_the_file_has_them() -> None:
    assert initializers(parse(BRANCHES)) == {"g": ["w"], "t": ["v"], "e": []}


def test_a_new_constant_goes_to_the_innermost_graph_that_sees_all_its_readers() -> None:
    graph = parse(BRANCHES)
    then_branch, else_branch = graph.nodes[1].subgraphs()
    then_branch.nodes[0].inputs[0] = new("inner")
    then_branch.nodes[0].op = else_branch.nodes[0].op = "Ceil"
    assert initializers(graph) == {"g": ["w"], "t": ["v", "inner"], "e": []}
    else_branch.nodes[0].inputs[0] = then_branch.nodes[0].inputs[0]
    assert initializers(graph) == {"g": ["w", "inner"], "t": ["v"], "e": []}


def test_a_constant_of_a_branch_that_the_outer_graph_reads_moves_out() -> None:
    graph = parse(BRANCHES)
    graph.nodes[0].inputs[1] = graph.nodes[1].attrs["then_branch"].constants[0]
    assert initializers(graph) == {"g": ["v"], "t": [], "e": []}


def test_a_constant_that_lost_its_last_reader_is_not_written() -> None:
    graph = parse(BRANCHES)
    graph.nodes[0].inputs[1] = new("other")
    assert initializers(graph)["g"] == ["other"]


def test_a_function_keeps_new_constants_as_nodes() -> None:
    graph = parse("""g (float[2] x) => (float[2] y) { y = local.F(x) }
        <domain: "local", opset_import: ["" : 17]> F (i) => (o) { o = Neg(i) }""")
    function = graph.functions[0]
    function.nodes[0].op = "Add"
    function.nodes[0].inputs.append(new("one"))
    model = ir.to_proto(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.functions[0].node] == ["Constant", "Add"]
    assert model.functions[0].node[0].output == ["one"]


def test_before_ir_version_4_a_new_constant_of_a_body_goes_to_the_main_graph() -> None:
    """Initializers had to be inputs, and the body of a Loop takes those alone that the Loop gives it."""
    graph = ir.from_proto(
        onnx.parser.parse_model("""<ir_version: 3, opset_import: ["" : 8]>
        g (float[2] x, float[1] w) => (float[2] y) <float[1] w = {5}> {
            c = Constant <value = bool {1}> () t = Constant <value = int64 {3}> ()
            y = Loop (t, c, x) <body: graph = b (int64 i, bool go, float[2] a) => (bool more, float[2] r) {
                k = Constant <value = float {2}> () r = Mul (a, k) more = Identity (go)
            }>
        }""")
    )
    (body,) = graph.nodes[2].subgraphs()
    body.nodes[1].inputs[1] = new("w")  # the name of another
    model = ir.to_proto(graph)
    assert [tensor.name for tensor in model.graph.initializer] == ["w", "w_1"] and not body.constants
    assert [info.name for info in model.graph.input] == ["x", "w", "w_1"]
    result = run(model, {"x": np.full(2, 7, np.float32)})["y"]
    np.testing.assert_array_equal(result, np.full(2, 7, np.float32))


@pytest.mark.parametrize("name", ["w", "x", "a", "y", "p", "q", "v", "", "w_1"])
def test_a_new_constant_whose_name_stands_for_something_else_is_renamed(name: str) -> None:
    """One of the name of a branch's value would be hidden there; one without a name would read as omitted."""
    graph = parse(BRANCHES.replace("r = Abs(a)", "r = Add(a, a)"))
    else_branch = graph.nodes[1].attrs["else_branch"]
    constant = new(name)
    graph.nodes[0].inputs[0] = constant
    else_branch.nodes[0].inputs[1] = constant
    written = initializers(graph)
    assert written["g"] == ["w", {"w_1": "w_1", "": "constant_1"}.get(name, f"{name}_1")]


def test_renaming_copied_constants_alike_gives_two_initializers_of_two_names() -> None:
    """graphsurgeon writes two of one name, and renames the one in the model that was loaded."""
    model = onnx.parser.parse_model(f"{HEAD} {BRANCHES}")
    graph = ir.from_proto(model)
    twin = graph.nodes[0].inputs[1].copy()
    twin.name = "w2"
    graph.nodes[0].inputs[0] = twin
    assert initializers(graph)["g"] == ["w", "w2"]
    twin.name = "w"
    assert initializers(graph)["g"] == ["w", "w_1"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w"]


def test_many_constants_without_a_name_are_numbered_in_one_go() -> None:
    nodes = [ir.Node("Neg", inputs=[new("")], outputs=[ir.Variable(f"t{i}", np.float32, [2])]) for i in range(2000)]
    graph = ir.Graph(nodes, [], [nodes[0].outputs[0]])
    assert initializers(graph)["graph"] == [f"constant_{i}" for i in range(1, 2001)]


def test_an_output_keeps_the_name_of_its_constant() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { y = Exp(x) }")
    y = graph.outputs[0]
    y.inputs.clear()
    y.to_constant(np.ones(2, np.float32))
    graph.nodes.clear()
    saved = ir.to_proto(graph).graph
    onnx.checker.check_graph(saved)
    assert [tensor.name for tensor in saved.initializer] == [info.name for info in saved.output] == ["y"]
    assert not saved.value_info


def test_a_constant_that_a_node_still_makes_is_an_error_that_names_both() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { a = Exp(x) y = Neg(a) }")
    graph.nodes[0].outputs[0].to_constant(np.ones(2, np.float32))
    with pytest.raises(BadModel, match=r"constant 'a' is still an output of node \(Exp\) of 'a'"):
        ir.to_proto(graph)


def test_new_values_correct_what_the_file_declares_of_them() -> None:
    model = onnx.parser.parse_model(f"{HEAD} {BRANCHES}")
    model.graph.value_info.append(helper.make_tensor_value_info("w", 1, ["stale"]))
    graph = ir.from_proto(model)
    assert ir.to_proto(graph).graph.value_info[0] == model.graph.value_info[0]
    graph.constants[0].values = np.ones((1, 2), np.float64)
    assert ir.to_proto(graph).graph.value_info[0] == helper.make_tensor_value_info("w", 11, [1, 2])


def test_ir_version_3_lists_new_initializers_too() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 3, opset_import: ["" : 7]> g (float[2] x) => (float[2] y) { y = Exp(x) }'
    )
    graph = ir.from_proto(model)
    graph.nodes[0].op = "Add"
    graph.nodes[0].inputs.append(new("w"))
    saved = ir.to_proto(graph)
    onnx.checker.check_model(saved, full_check=True)
    assert [info.name for info in saved.graph.input] == ["x", "w"]
    graph.ir_version = 8
    assert [info.name for info in ir.to_proto(graph).graph.input] == ["x"]
    assert numpy_helper.to_array(ir.to_proto(graph).graph.initializer[0]).tolist() == [1, 1]
