"""Nodes of one scope in another: moved or copied, under names that nobody else has."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
from onnx import TensorAnnotation

from onnxopt import ir
from onnxopt.ir.edit import detach
from onnxopt.ir.splice import Binding, Names, copy_nodes, given_out, move, own_names, rewire
from tests.passes.checks import parse

MODEL = """
    <ir_version: 10, opset_import: ["" : 17]>
    g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        t = Exp (x)
        [the_if] p = If (c) <
            then_branch = th () => (float[2] r) <float[2] w2 = {3, 4}> {
                [a] t2 = Add (t, w2)
                [b] s = If (c) <
                    then_branch = th2 () => (float[2] u) { u = Neg (t2) },
                    else_branch = el2 () => (float[2] v) <float[2] w3 = {5, 6}> { v = Add (t2, w3) }
                >
                [c] r = Mul (s, w)
            },
            else_branch = el () => (float[2] e) { e = Abs (t) }
        >
        y = Add (p, t)
    }
"""


@pytest.fixture
def graph() -> ir.Graph:
    return parse(MODEL)


def branch(graph: ir.Graph, name: str = "then_branch") -> ir.Graph:
    found: ir.Graph = graph.nodes[1].attrs[name]
    return found


def test_names_are_counted_once_for_each_that_has_one(graph: ir.Graph) -> None:
    counts = Counter(own_names([graph, *graph.subgraphs(recursive=True)]))
    assert {name: count for name, count in counts.items() if count > 1 and name} == {"c": 2}  # an input and a node


def test_fresh_names(graph: ir.Graph) -> None:
    names = Names(graph)
    assert [names.fresh("t"), names.fresh("t"), names.fresh("new"), names.fresh("")] == ["t_1", "t_2", "new", "_1"]
    assert names.only("t2") == "t2"
    assert names.only("c") == "c_1" and names.only("c") == "c"
    names.drop(["t"])
    assert names.fresh("t") == "t"


def test_a_new_constant_counts_although_no_graph_declares_it(graph: ir.Graph) -> None:
    import numpy as np

    graph.nodes[2].inputs[1] = ir.Constant("fresh", np.zeros(2, np.float32))
    assert Names(graph).fresh("fresh") == "fresh_1"


def test_moved_nodes_keep_their_names_unless_others_have_them(graph: ir.Graph) -> None:
    body = branch(graph)
    body.nodes[0].outputs[0].name = "t"  # which hides the outer one in the file
    body.quantization_annotation.append(TensorAnnotation(tensor_name="t"))
    nodes = move(body, graph, Names(graph))
    assert [node.name for node in nodes] == ["a", "b", "c_1"]
    assert nodes[0].outputs[0].name == "t_1" and not body.nodes
    assert [entry.tensor_name for entry in graph.quantization_annotation] == ["t_1"]


def test_copies_read_what_stands_for_the_originals_and_share_constants(graph: ir.Graph) -> None:
    body = branch(graph)
    outer = graph.nodes[0].outputs[0]
    tensors: dict[ir.Tensor, ir.Tensor] = {outer: graph.inputs[0]}
    copies = copy_nodes(body, tensors, Names(graph), "copy/")
    assert copies[0].inputs[0] is graph.inputs[0]
    assert copies[0].inputs[1] is body.nodes[0].inputs[1]
    assert [node.name for node in copies] == ["copy/a", "copy/b", "copy/c"]
    assert [node.outputs[0].name for node in copies] == ["t2_1", "s_1", "r_1"]
    inner = copies[1].attrs["then_branch"]
    assert inner.nodes[0].inputs[0] is copies[0].outputs[0] and inner.outputs[0].name == "u_1"
    assert body.nodes[0].inputs[0] is outer  # the original stays


def test_copies_of_bodies_with_inputs_and_initializers_of_their_own() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) <int64 n = {2}> {
            y = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool ci, float[2] so)
                <float[2] w = {3, 4}> {
                z = Loop (n, , s) <body = b2 (int64 j, bool cj, float[2] r) => (bool cj, float[2] ro)
                    <float[2] v = {3, 4}> {
                    ro = Add (r, v)
                }>
                so = Add (z, w)
            }>
        }
    """)
    body = graph.nodes[0].attrs["body"]
    copies = copy_nodes(body, {body.inputs[2]: graph.inputs[0]}, Names(graph))
    graph.nodes[:] = [*copies]
    graph.outputs[:] = [copies[-1].outputs[0]]
    inner = copies[0].attrs["body"]
    assert [tensor.name for tensor in inner.inputs] == ["j_1", "cj_1", "r_1"]
    assert inner.constants[0] is not body.nodes[0].attrs["body"].constants[0]
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_an_output_is_what_the_node_of_the_body_gives(graph: ir.Graph) -> None:
    call, names, given = graph.nodes[1], Names(graph), given_out(graph)
    body = branch(graph)
    inner = set(body.nodes)
    given.subtract(body.outputs)
    binding = Binding(call.outputs, body.outputs, given)
    assert binding.obstacle(inner, 17) is None
    nodes = move(body, graph, names)
    assert not binding.apply(inner, graph, names)
    assert nodes[-1].outputs[0].name == "p" and graph.nodes[2].inputs[0] is nodes[-1].outputs[0]


def test_an_identity_gives_out_what_no_node_of_the_body_makes(graph: ir.Graph) -> None:
    names, given = Names(graph), given_out(graph)
    last = graph.nodes[2]
    binding = Binding(last.outputs, [graph.inputs[0]], given)
    assert binding.obstacle(set(), 7) is None
    (identity,) = binding.apply(set(), graph, names)
    assert identity.op == "Identity" and identity.outputs[0] is graph.outputs[0]


@pytest.mark.parametrize(("kind", "since"), [("sequence_type", 14), ("optional_type", 16)])
def test_an_identity_of_other_kinds_has_to_be_there(graph: ir.Graph, kind: str, since: int) -> None:
    graph.outputs[0].type = kind
    binding = Binding(graph.nodes[2].outputs, [graph.inputs[0]], given_out(graph))
    reason = binding.obstacle(set(), since - 1)
    assert reason is not None and f"no Identity takes in opset {since - 1}" in reason
    assert binding.obstacle(set(), since) is None


def test_readers_are_rewired_once_for_each_use(graph: ir.Graph) -> None:
    old, new = graph.nodes[0].outputs[0], graph.inputs[0]
    readers = list(old.outputs)
    rewire(old, new)
    assert not old.outputs and [node for node in new.outputs if node in readers] == readers
    detach(graph.nodes[1:])
    assert graph.nodes[0] in new.outputs
