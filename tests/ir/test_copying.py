"""A copy of a graph is complete and independent."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir

HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
NESTED = """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}, float[2] spare = {0, 0}> {
    a = Add(x, w)
    y = If (c) <then_branch = t () => (float[2] p) <float[2] v = {3, 4}> {
                    q = If (c) <then_branch = tt () => (float[2] pp) { pp = Mul(a, w) },
                                else_branch = te () => (float[2] qq) { qq = local.F(v) }>
                    p = Add(q, v)
                },
                else_branch = e () => (float[2] r) { r = Neg(a) }>
}
<domain: "local", opset_import: ["" : 13]> F (i) => (o) {
    k = Constant <value = float[1] {1}> ()
    o = If (i) <then_branch = ft () => (float[2] m) { m = Neg(k) }, else_branch = fe () => (float[2] n) { n = Abs(i) }>
}"""


def parse(text: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}"))


def everything(graph: ir.Graph) -> set[object]:
    """Every node, tensor, graph and list of a model."""
    found: set[object] = set()
    for scope in ir.every_graph(graph):
        found |= {scope, *scope.inputs, *scope.outputs, *scope.constants}
        for node in scope.nodes:
            found |= {node, *node.inputs, *node.outputs}
            found |= {value for value in node.attrs.values() if isinstance(value, ir.Constant)}
    return found


def test_a_copy_shares_no_node_and_no_tensor() -> None:
    graph = parse(NESTED)
    twin = graph.copy()
    assert everything(graph).isdisjoint(everything(twin))
    assert ir.to_proto(graph) == ir.to_proto(twin)


def test_a_copy_of_a_subgraph_alone_leaves_the_readers_of_outer_values_alone() -> None:
    graph = parse(NESTED)
    a = graph.nodes[0].outputs[0]
    readers = list(a.outputs)
    twin = graph.nodes[1].attrs["then_branch"].copy()
    assert a.outputs == readers
    assert everything(graph).isdisjoint(everything(twin))
    assert [node.op for node in twin.nodes] == ["If", "Add"]


def test_a_copy_of_a_node_for_the_same_graph_reads_the_same_outer_values() -> None:
    graph = parse(NESTED)
    a, w, conditional = graph.nodes[0].outputs[0], graph.constants[0], graph.nodes[1]
    twin = conditional.copy(list(conditional.inputs), [ir.Variable("y2", np.float32, [2])])
    graph.nodes.append(twin)
    graph.outputs.append(twin.outputs[0])
    assert len(a.outputs) == 4 and len(w.outputs) == 3
    assert twin.attrs["then_branch"] is not conditional.attrs["then_branch"]
    saved = ir.to_proto(graph).graph
    onnx.checker.check_graph(saved, _context(graph))
    assert sorted(tensor.name for tensor in saved.initializer) == ["spare", "v", "w"]  # `v` is shared now


def _context(graph: ir.Graph) -> object:
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 10, {"": graph.opset, "local": 1}
    return context


def test_edits_of_a_copy_do_not_reach_the_original() -> None:
    graph = parse(NESTED)
    graph.nodes[0].attrs["axes"] = [1, 2]
    before = ir.to_proto(graph)
    twin = graph.copy()
    twin.nodes[0].inputs[1].values *= 3
    twin.nodes[0].op = "Sub"
    twin.nodes[0].attrs["axes"].append(3)
    twin.import_domains[0].version = 18
    twin.metadata_props["k"] = "v"
    twin.producer_name = "other"
    twin.functions[0].nodes[0].attrs["value"].values[:] = 9
    twin.functions.clear()
    twin.nodes[1].attrs["then_branch"].nodes.clear()
    assert ir.to_proto(graph) == before


def test_values_that_a_pass_made_are_not_written_through_to_a_copy() -> None:
    graph = parse(NESTED)
    graph.constants[0].values = np.ones(2, np.float32)
    twin = graph.copy()
    graph.constants[0].values *= 5
    assert twin.constants[0].read().tolist() == [1, 1]


def test_the_functions_of_a_copy_belong_to_all_its_scopes() -> None:
    twin = parse(NESTED).copy()
    assert all(scope._functions is twin._functions for scope in ir.every_graph(twin))
    assert [sub.opset for sub in twin.functions[0].subgraphs()] == [13, 13]


@pytest.mark.parametrize("nodes", [300, 3000])
def test_a_copy_visits_each_node_once(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = ir.Variable("x")
    graph = ir.Graph([ir.Node("Neg", inputs=[x], outputs=[ir.Variable(f"t{i}")]) for i in range(nodes)], [x])
    copies = 0
    copy = ir.Variable.copy

    def counted(self: ir.Variable) -> ir.Variable:
        nonlocal copies
        copies += 1
        return copy(self)

    monkeypatch.setattr(ir.Variable, "copy", counted)
    graph.copy()
    assert copies == nodes + 1
