"""`normalize`: what is found in the wild becomes what the specification asks for, and computes what it did."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.passes.normalize import Normalize
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

NORMALIZE, CONSTANT = Normalize(), Normalize(overridable=False)
W = np.arange(4, dtype=np.float32)


def model(imports: list[tuple[str, int]], ir_version: int = 8, nodes: list[onnx.NodeProto] | None = None) -> ir.Graph:
    """y = x + w, with w among the initializers."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(W, "w")])
    protos = [helper.make_opsetid(domain, version) for domain, version in imports]
    made = helper.make_model(graph, opset_imports=protos, ir_version=ir_version)
    if not protos:
        made.ClearField("opset_import")
    return ir.from_proto(made)


def listed(ir_version: int) -> ir.Graph:
    """The same with w listed as an input, as exporters did."""
    graph = ir.to_proto(model([("", 8)], ir_version))
    graph.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    return ir.from_proto(graph)


def imports(graph: ir.Graph) -> list[tuple[str, int]]:
    return [(entry.domain, entry.version) for entry in ir.to_proto(graph).opset_import]


def test_golden_wild() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 17, "local" : 1, "ai.onnx" : 17]>
        g (float[batch,4] x, float[4] w) => (float[1,4] y)
        <float[4] w = {1, 2, 3, 4}, float[1,4] a> {
            one = Constant <value = float[1] {2.0}> ()
            a = Mul (x, w)
            y = Add (a, one)
        }""")
    check_golden(NORMALIZE, graph, "wild")


def test_a_clean_model_is_left_alone() -> None:
    check_pass(NORMALIZE, model([("", 17)]), expect_change=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([("", 17), ("", 17)], [("", 17)]),
        ([("ai.onnx.ml", 1), ("", 22), ("", 22)], [("ai.onnx.ml", 1), ("", 22)]),  # as skl2onnx writes them
        ([("ai.onnx", 17)], [("", 17)]),
        ([("com.example", 1), ("", 17), ("com.example", 2)], [("com.example", 2), ("", 17)]),
    ],
)
def test_every_domain_is_imported_once(given: list[tuple[str, int]], wanted: list[tuple[str, int]]) -> None:
    graph = model(given, ir_version=10)
    check_pass(NORMALIZE, graph)
    assert imports(graph) == wanted


def test_of_two_versions_the_last_that_all_nodes_fit_is_meant() -> None:
    old = helper.make_node("Unsqueeze", ["x"], ["u"], axes=[0])  # an attribute up to opset 12, an input since
    back = helper.make_node("Squeeze", ["u"], ["s"], axes=[0])
    graph = model([("", 11), ("", 13)], 8, [old, back, helper.make_node("Add", ["s", "w"], ["y"])])
    run_pass(NORMALIZE, graph)
    assert imports(graph) == [("", 11)]
    graph = model([("", 11), ("", 13)])
    check_pass(NORMALIZE, graph)  # with outputs by onnxruntime, which reads 13
    assert imports(graph) == [("", 13)]


def test_a_missing_import_is_the_newest_that_all_nodes_fit() -> None:
    graph = model([], 8, [helper.make_node("Upsample", ["x", "w"], ["y"])])
    run_pass(NORMALIZE, graph)
    assert imports(graph) == [("", 9)]  # deprecated since 10


def test_nodes_that_fit_no_version_are_refused() -> None:
    both = [
        helper.make_node("Unsqueeze", ["x"], ["u"], axes=[0]),  # up to 12
        helper.make_node("Gelu", ["u"], ["v"]),  # since 20
        helper.make_node("Add", ["v", "w"], ["y"]),
    ]
    graph = model([("", 12), ("", 20)], 8, both)
    _, ctx = run_pass(NORMALIZE, graph)
    assert any("fit no version" in refusal.what for refusal in ctx.refusals)
    assert any("'g': its nodes fit no one version" in line for line in ctx.warnings)
    assert imports(graph) == [("", 12), ("", 20)]


@pytest.mark.parametrize("ir_version", [3, 8])
def test_initializers_are_no_inputs(ir_version: int) -> None:
    graph = listed(ir_version)
    check_pass(CONSTANT, graph, {"x": W})
    proto = ir.to_proto(graph)
    assert [info.name for info in proto.graph.input] == ["x"] and proto.ir_version == max(ir_version, 4)
    assert [tensor.name for tensor in proto.graph.initializer] == ["w"]


def test_what_a_caller_could_override_can_be_kept() -> None:
    check_refusal(NORMALIZE, listed(8), "`overridable` keeps")


def test_an_unread_input_with_a_default_is_one_initializer() -> None:
    graph = listed(8)
    graph.nodes[0].inputs[1] = graph.nodes[0].inputs[0]
    run_pass(CONSTANT, graph)
    proto = ir.to_proto(graph)
    assert [info.name for info in proto.graph.input] == ["x"]
    assert [tensor.name for tensor in proto.graph.initializer] == ["w"]


def test_constants_of_every_scope_become_initializers_but_in_functions() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x, bool c) => (float[2] y) {
            one = Constant <value_float = 1.0> ()
            z = If (c) <
                then_branch = t () => (float[2] a) { two = Constant <value = float {2.0}> () a = Mul (x, two) },
                else_branch = e () => (float[2] b) { b = local.f (x) }
            >
            y = Add (z, one)
        }
        <domain: "local", opset_import: ["" : 17]>
        f (a) => (b) { three = Constant <value_float = 3.0> () b = Mul (a, three) }
        """)
    check_pass(NORMALIZE, graph, {"x": W[:2], "c": np.array(True)})
    assert ops(graph) == ["If", "Add"]
    assert [tensor.name for tensor in ir.to_proto(graph).graph.initializer] == ["one"]
    assert [node.op_type for node in ir.to_proto(graph).functions[0].node] == ["Constant", "Mul"]


def test_a_constant_that_is_an_output_stays() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y, float k) { k = Constant <value = float {2.0}> () y = Add (x, k) }""")
    check_pass(NORMALIZE, graph, expect_change=False)


def test_wrong_declarations_are_corrected_and_true_ones_kept() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[batch,4] x) => (float[1,4] y) <float[1,5] a, float[batch,4] b> { a = Relu (x)
            b = Neg (a) y = Abs (b) }""")
    ctx = check_pass(NORMALIZE, graph)
    assert graph.outputs[0].shape == ["batch", 4]
    assert ctx.statistics["normalize: declarations corrected"] == 2


@pytest.mark.parametrize(("given", "wanted"), [(3, 8), (99, 8), (9, 9)])
def test_the_ir_version_is_one_that_the_opset_has_and_runtimes_read(given: int, wanted: int) -> None:
    proto = ir.to_proto(model([("", 17)]))
    proto.ir_version = given
    if given == 3:  # which has the initializers among the inputs
        proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    graph = ir.from_proto(proto)
    run_pass(NORMALIZE, graph)
    after = ir.to_proto(graph)
    assert after.ir_version == wanted
    onnx.checker.check_model(after, full_check=True)


def test_the_model_of_a_single_rewrite_is_whole() -> None:
    graph = listed(3)
    for limit in range(4):
        copy = graph.copy()
        run_pass(NORMALIZE, copy, limit=limit)
        ir.from_proto(ir.to_proto(copy))
