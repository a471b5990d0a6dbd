"""Ifs give way to the nodes of one of their branches, all of a graph in one go."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.pipeline.reduction.branches import inline, taken
from tests.passes.checks import ops, parse, run

TWO = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[2] x, bool c) => (float[2] y, float[2] z) {
        p = If (c) <
            then_branch = t () => (float[2] t1) { a = Abs (x) t1 = Exp (a) },
            else_branch = e () => (float[2] e1) { b = Neg (x) e1 = Exp (b) }
        >
        y = Neg (p)
        z = If (c) <
            then_branch = u () => (float[2] u1) { a = Sin (y) u1 = Exp (a) },
            else_branch = f () => (float[2] f1) { a = Cos (y) f1 = Exp (a) }
        >
    }
"""


def opened(condition: bool) -> ir.Graph:
    graph = parse(TWO)
    inline(graph, graph, {node: taken(node, condition) for node in graph.nodes if node.is_op("If")})
    return graph


@pytest.mark.parametrize("condition", [False, True])
def test_the_model_computes_what_it_did(condition: bool) -> None:
    feeds = {"x": np.array([1, -2], np.float32), "c": np.array(condition)}
    model = ir.to_proto(opened(condition))
    onnx.checker.check_model(model, full_check=True)
    for name, value in run(ir.to_proto(parse(TWO)), feeds).items():
        np.testing.assert_array_equal(run(model, feeds)[name], value)


def test_names_stay_where_they_are_free_and_an_output_stands_behind_an_identity() -> None:
    graph = opened(True)
    assert ops(graph) == ["Abs", "Exp", "Neg", "Sin", "Exp", "Identity"]
    assert [node.outputs[0].name for node in graph.nodes] == ["a", "t1", "y", "a_1", "u1", "z"]


def test_many_take_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session looks at every name of the model."""
    sessions, edit = [], ir.edit
    monkeypatch.setattr(ir, "edit", lambda graph: sessions.append(graph) or edit(graph))
    opened(True)
    assert len(sessions) == 1
