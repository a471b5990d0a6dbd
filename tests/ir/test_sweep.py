"""Dead code: found in linear time, removed readers first, cut off cleanly."""

from __future__ import annotations

import onnx
import pytest

from onnxopt import ir
from onnxopt.ir.sweep import drop_functions, omit_outputs, readers_first, sweep
from onnxopt.ir.unread import drop_unread

HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1, "vendor" : 1]>'


def parse(text: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}"))


def test_readers_go_before_what_they_read_and_a_refusal_spares_what_is_read() -> None:
    needs: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b", "a"], "d": []}
    assert readers_first(list("abcd"), needs.__getitem__, lambda item: True) == ["d", "c", "b", "a"]
    asked: list[str] = []

    def all_but_b(item: str) -> bool:
        asked.append(item)
        return item != "b"

    assert readers_first(list("abcd"), needs.__getitem__, all_but_b) == ["d", "c"]
    assert asked == ["d", "c", "b"]


def test_dead_nodes_are_cut_off_their_tensors() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { a = Exp (x) b = Add (a, x) y = Relu (x) }")
    dead = sweep(graph)
    assert [node.op for node in dead] == ["Add", "Exp"]
    assert all(not node.inputs and not node.outputs for node in dead)
    assert list(graph.inputs[0].outputs) == graph.nodes


def test_a_dead_node_with_subgraphs_lets_go_of_outer_tensors() -> None:
    graph = parse("""
        g (float[2] x, bool c) => (float[2] y) {
            outer = Exp (x)
            dead = If (c) <
                then_branch = t () => (float[2] t1) { t1 = Abs (outer) },
                else_branch = e () => (float[2] e1) { e1 = Neg (x) }
            >
            y = Relu (x)
        }
    """)
    assert [node.op for node in sweep(graph)] == ["If", "Exp"]
    assert list(graph.inputs[0].outputs) == graph.nodes and not graph.inputs[1].outputs


def test_a_long_chain_needs_no_recursion() -> None:
    nodes = [ir.Node("Relu") for _ in range(20_000)]
    tensors = [ir.Variable(f"t{index}") for index in range(20_001)]
    for node, before, after in zip(nodes, tensors, tensors[1:], strict=False):
        node.inputs.append(before)
        node.outputs.append(after)
    graph = ir.Graph(nodes, inputs=tensors[:1], outputs=[tensors[1]])
    assert len(sweep(graph)) == 19_999 and graph.nodes == nodes[:1]


def test_a_function_can_be_swept_alone() -> None:
    graph = parse("""
        g (float[2] x) => (float[2] y) { dead = Neg (x) y = local.f (x) }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) { dead = Exp (a) b = Abs (a) }
    """)
    assert [node.op for node in sweep(graph.functions[0])] == ["Exp"]
    assert len(graph.nodes) == 2


def test_an_unknown_operator_inside_a_branch_keeps_the_branch_and_what_it_reads() -> None:
    graph = parse("""
        g (float[2] x, bool c) => (float[2] y) {
            a = Exp (x)
            dead = If (c) <
                then_branch = t () => (float[2] t1) { l = vendor.Log (a) t1 = Abs (x) },
                else_branch = e () => (float[2] e1) { e1 = Neg (x) }
            >
            y = Relu (x)
        }
    """)
    assert not sweep(graph)


def test_interface_changes_only_when_asked() -> None:
    graph = parse("g (float[2] x, float[2] unread) => (float[2] y) { y = Relu (x) }")
    sweep(graph)
    assert len(graph.inputs) == 2
    sweep(graph, inputs=True)
    assert [tensor.name for tensor in graph.inputs] == ["x"]


def lstm(outputs: str) -> ir.Graph:
    return parse(f"""
        g (float[5,2,3] x, float[1,16,3] w, float[1,16,4] r) => (float[a,b,c,d] y) {{
            {outputs} = LSTM <hidden_size = 4> (x, w, r)
        }}
    """)


@pytest.mark.parametrize(("outputs", "omitted"), [("y, h, c", ["c", "h"]), ("y, , c", ["c"]), ("y, h", ["h"])])
def test_omitted_outputs_leave_no_gap_at_the_end(outputs: str, omitted: list[str]) -> None:
    graph = lstm(outputs)
    assert [output.name for output in omit_outputs(graph)] == omitted
    assert [output.name for output in graph.nodes[0].outputs] == ["y"]


def test_outputs_that_the_file_omits_are_no_rewrite() -> None:
    graph = lstm("y, ,")
    assert not omit_outputs(graph) and len(graph.nodes[0].outputs) == 2


def test_functions_called_from_a_branch_stay() -> None:
    graph = parse("""
        g (float[2] x, bool c) => (float[2] y) {
            y = If (c) <
                then_branch = t () => (float[2] t1) { t1 = local.f (x) },
                else_branch = e () => (float[2] e1) { e1 = Neg (x) }
            >
        }
        <opset_import: ["" : 17, "local" : 1], domain: "local"> f (a) => (b) { b = local.h (a) }
        <opset_import: ["" : 17], domain: "local"> h (a) => (b) { b = Abs (a) }
    """)
    assert not drop_functions(graph)


def test_unread_initializers_of_subgraphs_go_too() -> None:
    graph = parse("""
        g (float[2] x, bool c) => (float[2] y) <float[2] used_inside = {1, 2}> {
            y = If (c) <
                then_branch = t () => (float[2] t1) <float[2] unread = {3, 4}> { t1 = Add (x, used_inside) },
                else_branch = e () => (float[2] e1) { e1 = Neg (x) }
            >
        }
    """)
    assert [constant.name for constant in drop_unread(graph)] == ["unread"]
