"""What became of nodes from step to step."""

from __future__ import annotations

import numpy as np

import onnxopt
from onnxopt import ir
from onnxopt.report.inspector.history import GONE, History
from onnxopt.report.inspector.weights import weight_facts
from tests.passes.checks import parse

_DOUBLE = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3] x) => (float[N, 3] y) {
    [one] a = Neg(x)
    [two] b = Neg(a)
    [three] y = Relu(b)
}
"""
_WEIGHT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }
"""
_BRANCH = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x, bool c) => (float[2] y) {
    y = If (c) <
        then_branch = yes () => (float[2] p) { p = Neg(x) },
        else_branch = no () => (float[2] q) { q = Relu(x) }
    >
}
"""


def _at(history: History, step: int) -> list[str]:
    """The operators that there are at a step, by the versions alone."""
    found = []
    for versions in history.nodes.values():
        held = [version for since, version in versions if since <= step]
        if held and held[-1] != GONE:
            found.append(history.versions[held[-1]]["op"])
    return found


def test_each_step_can_be_had_again() -> None:
    result = onnxopt.run(parse(_DOUBLE), "eliminate-identities,eliminate-dead-nodes", record=True)
    assert result.recording is not None
    history = result.recording.history
    last = len(result.recording.steps) - 1
    assert _at(history, 0) == ["Neg", "Neg", "Relu"]
    assert _at(history, last) == [node.op for node in result.graph.nodes]


def test_an_unchanged_graph_makes_no_versions() -> None:
    graph, history = parse(_DOUBLE), History()
    history.observe(graph, 0, {})
    count = len(history.versions), len(history.values)
    assert history.observe(graph, 1, {})["changed"] == []
    assert (len(history.versions), len(history.values)) == count


def test_a_weight_that_was_written_into_is_a_new_one() -> None:
    graph = parse(_WEIGHT)
    history = History()
    history.observe(graph, 0, {})
    constant = graph.nodes[0].inputs[1]
    assert isinstance(constant, ir.Constant)
    constant.values = np.array([1, 5], np.float32)
    history.observe(graph, 1, {})
    constant.values[0] = 7
    delta = history.observe(graph, 2, {})
    assert len(delta["changed"]) == 1
    assert [weight["max"] for weight in history.weights] == [2, 5, 7]


def test_a_subgraph_is_a_scope_and_what_it_reads_is_told() -> None:
    history = History()
    history.observe(parse(_BRANCH), 0, {})
    assert [(scope["kind"], scope.get("attribute")) for scope in history.scopes] == [
        ("graph", None), ("subgraph", "then_branch"), ("subgraph", "else_branch"),
    ]  # fmt: skip
    branch = next(version for version in history.versions if version["op"] == "If")
    assert [history.values[value]["name"] for value in branch["captured"]] == ["x"]


def test_a_graph_of_another_file_goes_on_where_its_nodes_have_partners() -> None:
    from onnxopt.ir.diff.pairing import paired

    one, other = parse(_DOUBLE), parse(_DOUBLE)
    history = History()
    history.observe(one, 0, {})
    history.continue_as(paired(one, other))
    delta = history.observe(other, 1, {})
    assert delta["added"] == delta["removed"] == delta["changed"] == []


def test_facts_of_a_weight() -> None:
    facts = weight_facts(ir.Constant("w", np.array([[0, 1], [0, -3]], np.float32)))
    assert (facts["min"], facts["max"], facts["zeros"], facts["bytes"]) == (-3, 1, 0.5, 16)
    assert sum(facts["histogram"]) == 4
    assert facts["values"] == [0, 1, 0, -3]


def test_odd_weights_have_facts_too() -> None:
    odd = weight_facts(ir.Constant("w", np.array([np.nan, np.inf, 1], np.float32)))
    assert odd["not_finite"] == 2
    assert odd["values"] == ["nan", "inf", 1]
    assert "min" not in weight_facts(ir.Constant("w", np.zeros((0, 3), np.float32)))
    assert weight_facts(ir.Constant("w", np.full(9, 3.0)))["histogram"] == [9]
    huge = weight_facts(ir.Constant("w", np.array([-1e308, 1e308])))
    assert huge["histogram"] == [2]
    text = weight_facts(ir.Constant("w", np.array(["a", "b"], object)))
    assert "histogram" not in text


def test_a_large_weight_is_sampled_and_says_so() -> None:
    facts = weight_facts(ir.Constant("w", np.zeros(1 << 19, np.int8)))
    assert facts["sampled"]
    assert facts["zeros"] == 1
