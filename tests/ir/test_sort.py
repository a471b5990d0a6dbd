"""Topological order: stable, iterative, in every scope."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.errors import BadModel

HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'


def parse(text: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}"))


def chain(length: int) -> ir.Graph:
    tensors = [ir.Variable(f"t{index}") for index in range(length + 1)]
    nodes = [ir.Node("Neg", f"n{i}", inputs=[tensors[i]], outputs=[tensors[i + 1]]) for i in range(length)]
    return ir.Graph(nodes, [tensors[0]], [tensors[-1]])


def test_a_sorted_graph_is_left_as_it_was() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { b = Neg(x) a = Exp(x) y = Add(a, b) }")
    before = list(graph.nodes)
    assert not ir.sort(graph) and graph.nodes == before


def test_nodes_that_are_free_to_move_keep_their_order() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { y = Add(a, b) c = Abs(x) a = Exp(x) b = Neg(a) }")
    assert ir.sort(graph)
    assert [node.op for node in graph.nodes] == ["Abs", "Exp", "Neg", "Add"]


def test_a_reversed_chain_of_fifty_thousand_nodes() -> None:
    """graphsurgeon raises RecursionError at 500."""
    graph = chain(50_000)
    expected = list(graph.nodes)
    graph.nodes.reverse()
    assert ir.sort(graph) and graph.nodes == expected


def test_a_shuffled_graph_becomes_one_that_the_checker_takes() -> None:
    graph = chain(200)
    for tensor in (*graph.inputs, *graph.outputs):
        tensor.dtype, tensor.shape = np.dtype("float32"), [2]
    random.Random(0).shuffle(graph.nodes)
    ir.sort(graph)
    onnx.checker.check_model(ir.to_proto(graph))


def test_what_a_subgraph_reads_its_owner_needs() -> None:
    graph = parse("""g (float[2] x, bool c) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] p) { p = Neg(q) q = Exp(a) },
                    else_branch = e () => (float[2] b) {}>
        a = Abs(x)
        b = Ceil(x)
    }""")
    assert ir.sort(graph)
    assert [node.op for node in graph.nodes] == ["Abs", "Ceil", "If"]
    assert [node.op for node in graph.nodes[2].attrs["then_branch"].nodes] == ["Exp", "Neg"]
    assert not ir.sort(graph)


def test_functions_are_sorted_too() -> None:
    graph = parse("""g (float[2] x) => (float[2] y) { y = local.F(x) }
        <domain: "local", opset_import: ["" : 17]> F (i) => (o) { o = Neg(k) k = Exp(i) }""")
    assert ir.sort(graph)
    assert [node.op for node in graph.functions[0].nodes] == ["Exp", "Neg"]


def test_a_cycle_is_named_by_a_node_that_is_in_it() -> None:
    node = helper.make_node
    loop = [
        node("Add", ["x", "c"], ["a"], name="in"),
        node("Neg", ["a"], ["b"]),
        node("Abs", ["b"], ["c"], name="also in"),
    ]
    after = [node("Exp", ["a"], ["y"], name="after"), node("Exp", ["y"], ["z"], name="last")]
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph([*reversed(after), *loop], "looped", [value("x", 1, [1])], [value("z", 1, [1])])
    )
    with pytest.raises(
        BadModel, match=r"graph 'looped' has a cycle through node ('in' \(Add\)|\(Neg\) of 'b'|'also in')"
    ):
        ir.sort(ir.from_proto(model))


def test_a_node_that_reads_itself_is_a_cycle() -> None:
    graph = chain(2)
    graph.nodes[0].inputs[0] = graph.nodes[0].outputs[0]
    with pytest.raises(BadModel, match="'n0'"):
        ir.sort(graph)


def test_many_nodes_with_subgraphs_are_walked_a_fixed_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """graphsurgeon's import takes 54 times as long for 8 times the If nodes."""
    walks = {}
    for count in (10, 100):
        branch = helper.make_graph(
            [helper.make_node("Neg", ["x"], ["b"])], "b", [], [helper.make_empty_tensor_value_info("b")]
        )
        nodes = [helper.make_node("If", ["c"], [f"y{i}"], then_branch=branch, else_branch=branch) for i in range(count)]
        value = helper.make_tensor_value_info
        proto = helper.make_graph(nodes[::-1], "g", [value("x", 1, [1]), value("c", 9, [])], [value("y0", 1, [1])])
        calls = 0
        subgraphs = ir.Node.subgraphs

        def counted(self: ir.Node, recursive: bool = False, found=subgraphs):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            return found(self, recursive)

        with monkeypatch.context() as patch:
            patch.setattr(ir.Node, "subgraphs", counted)
            graph = ir.from_proto(helper.make_model(proto))
            ir.sort(graph)
            with ir.edit(graph) as edit:
                edit.fresh("n")
            ir.to_proto(graph.copy())
        walks[count] = calls
    assert walks[100] <= 10 * walks[10]
