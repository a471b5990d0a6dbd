"""Views of a graph for networkx's algorithms."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import onnx.parser
import pytest

from onnxopt import ir
from onnxopt.errors import BadModel
from onnxopt.ir.views import dataflow, depth


def parse(body: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {body}'))


DIAMOND = parse("""g (float[4] x, float[4] u) => (y, v) {
    a = Relu(x)  b = Neg(a)  c = Exp(a)  d = Exp(c)  y = Add(b, d)  v = Abs(u)
}""")


def test_ancestors_longest_path_and_components() -> None:
    view = dataflow(DIAMOND)
    a, b, c, d, y, v = DIAMOND.nodes
    assert list(view) == DIAMOND.nodes
    assert nx.ancestors(view, d) == {a, c}
    assert nx.descendants(view, a) == {b, c, d, y}
    assert nx.dag_longest_path(view) == [a, c, d, y]
    assert list(nx.weakly_connected_components(view)) == [{a, b, c, d, y}, {v}]


def test_an_edge_has_the_tensors_that_it_stands_for() -> None:
    graph = parse("g (float[4] x) => (y) { a, b = Split<axis = 0>(x)  y = Sum(a, b, a) }")
    split, add = graph.nodes
    view = dataflow(graph)
    assert view.edges[split, add]["tensors"] == split.outputs


def test_a_node_with_subgraphs_reads_what_they_capture_at_any_depth() -> None:
    graph = parse("""g (float[4] x, bool c) => (y) {
        a = Relu(x)
        b = Neg(x)
        y = If (c) <
            then_branch = t () => (t1) {
                t1 = If (c) <then_branch = tt () => (t2) { t2 = Exp(a) }, else_branch = te () => (t3) { t3 = Exp(x) }>
            },
            else_branch = e () => (b) { }
        >
    }""")
    a, b, choice = graph.nodes
    view = dataflow(graph)
    assert set(view.edges) == {(a, choice), (b, choice)}
    inner = dataflow(choice.attrs["then_branch"])
    assert list(inner) == choice.attrs["then_branch"].nodes and not inner.edges


def test_a_long_chain_needs_no_recursion() -> None:
    tensors = [ir.Variable(f"v{index}") for index in range(5001)]
    nodes = [ir.Node("Relu", inputs=[before], outputs=[after]) for before, after in pairwise(tensors)]
    assert nx.dag_longest_path_length(dataflow(ir.Graph(nodes, tensors[:1], tensors[-1:]))) == 4999


def test_depth_is_the_longest_chain() -> None:
    assert depth(DIAMOND) == 4
    assert depth(ir.Graph()) == 0


def test_a_cycle_has_no_depth() -> None:
    one, other = ir.Variable("one"), ir.Variable("other")
    nodes = [ir.Node("Relu", inputs=[one], outputs=[other]), ir.Node("Abs", inputs=[other], outputs=[one])]
    with pytest.raises(BadModel, match="cycle"):
        depth(ir.Graph(nodes))
