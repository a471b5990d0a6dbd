"""A sweep that takes over answers from an earlier one finds exactly what a fresh one finds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes, ProvenShapesNonempty
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun
from tests.passes.checks import parse

SHAPES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n,3,m,8] x, float[k] z) => (float y, float w)
<int64[1] one = {1}, int64[1] rest = {-1}, int64[2] cut = {1, 2}> {
    s = Shape(x)
    first = Gather(s, one)
    target = Concat<axis = 0>(first, rest)
    flat = Reshape(x, target)
    t = Transpose<perm = [1, 0]>(flat)
    p = Relu(t)
    pad = Concat<axis = 0>(cut, cut)
    q = Pad(p, pad)
    y = Identity(q)
    w = Neg(z)
    square = Mul(s, s)
}"""


def facts(shapes: ProvenShapes, graph: ir.Graph) -> list[object]:
    """All that is said of every value."""
    tensors = [tensor for node in ir.every_node(graph) for tensor in (*node.inputs, *node.outputs)]
    return [(tensor.name, shapes.dims(tensor), shapes.elements(tensor)) for tensor in tensors]


def check(graph: ir.Graph, *earlier: ProvenShapes) -> None:
    """Resumed sweeps of both kinds find what fresh ones find."""
    for kind in (ProvenShapes, ProvenShapesNonempty):
        resumed = kind(graph)
        resumed.resume(earlier)
        assert facts(resumed, graph) == facts(kind(graph), graph)


def node_of(graph: ir.Graph, op: str) -> ir.Node:
    return next(node for node in graph.nodes if node.op == op)


def change_attribute(graph: ir.Graph) -> None:
    node_of(graph, "Transpose").attrs["perm"][:] = [0, 1]


def remove_attribute(graph: ir.Graph) -> None:
    node_of(graph, "Concat").attrs.clear()


def write_into_constant(graph: ir.Graph) -> None:
    constant = node_of(graph, "Pad").inputs[1].producer.inputs[0]
    constant.values[:] = [7, 9]


def replace_constant(graph: ir.Graph) -> None:
    node_of(graph, "Gather").inputs[1].values = np.array([0, 1], np.int64)


def rewire(graph: ir.Graph) -> None:
    with ir.edit(graph) as edit:
        edit.replace_input(node_of(graph, "Relu"), 0, node_of(graph, "Neg").inputs[0])


def fold(graph: ir.Graph) -> None:
    tensor = node_of(graph, "Pad").inputs[1]
    tensor.inputs.clear()
    tensor.to_constant(np.array([0, 1, 2, 3], np.int64))


def lose_producer(graph: ir.Graph) -> None:
    node_of(graph, "Relu").inputs[0].inputs.clear()


def turn_into_variable(graph: ir.Graph) -> None:
    node_of(graph, "Gather").inputs[1].to_variable()


def omit(graph: ir.Graph) -> None:
    node_of(graph, "Pad").inputs[1].name = ""


def change_operator(graph: ir.Graph) -> None:
    node_of(graph, "Transpose").op = "Shape"


def change_domain(graph: ir.Graph) -> None:
    node_of(graph, "Transpose").domain = "com.example"


def change_opset(graph: ir.Graph) -> None:
    graph.opset = 6


def declare_input(graph: ir.Graph) -> None:
    graph.inputs[0].shape[0] = 5


@pytest.mark.parametrize(
    "change",
    [
        change_attribute, remove_attribute, write_into_constant, replace_constant, rewire, fold, lose_producer,
        turn_into_variable, omit, change_operator, change_domain, change_opset, declare_input,
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [ProvenShapes, ProvenShapesNonempty])
def test_what_changed_is_asked_again(change: Callable[[ir.Graph], None], kind: type[ProvenShapes]) -> None:
    graph = parse(SHAPES)
    if change is write_into_constant:  # an array that is there before and after
        assert node_of(graph, "Pad").inputs[1].producer.inputs[0].values is not None
    earlier = kind(graph)
    before = facts(earlier, graph)
    change(graph)
    check(graph, earlier)
    assert facts(kind(graph), graph) != before, "the change shows"


def test_what_did_not_change_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = parse(SHAPES)
    ctx = Context()
    known = facts(ctx.analysis(ProvenShapes, graph), graph)
    ctx.forget()
    monkeypatch.setattr("onnxopt.ir.proven.sweep._apply", None)  # nobody may ask a rule
    assert facts(ctx.analysis(ProvenShapes, graph), graph) == known
    ctx.close()
    with pytest.raises(TypeError):
        facts(ctx.analysis(ProvenShapes, graph), graph)


class Compared(Instrument):
    """After each pass, compares what the run goes on with to a fresh sweep."""

    def __init__(self) -> None:
        self.times = 0

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        for kind in (ProvenShapes, ProvenShapesNonempty):
            assert facts(ctx.analysis(kind, graph), graph) == facts(kind(graph), graph), run.text
        self.times += run.changed


def test_a_whole_run_goes_on_with_what_a_fresh_sweep_finds() -> None:
    compared = Compared()
    onnxopt.run(parse(SHAPES), "O3", instruments=[compared])
    assert compared.times > 1
