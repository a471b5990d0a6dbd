"""A pass that makes the model slower is taken back, with all that it did."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx.parser
import pytest

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.latency_guard import LatencyGuard
from onnxopt.pipeline.manager import Manager
from onnxopt.runtime.latency import Ratio
from tests.pipeline.planted import pipeline, repeat

MODEL = """<ir_version: 8, opset_import: ["" : 17]> g (float[64,64] x) => (float[64,64] y) {
  a = MatMul(x, x)
  y = Relu(a)
}"""


@dataclass(frozen=True)
class Slow(Pass):
    """Puts multiplications by the identity matrix behind every Relu."""

    times: int = 60

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        with ir.edit(graph) as edit:
            for node in graph.nodes:
                if node.op == "Relu" and len(graph.nodes) < 10 and ctx.allow("slowed down", node):
                    eye = ir.Constant(edit.fresh("eye"), np.eye(64, dtype=np.float32))
                    last = node.inputs[0]
                    for _ in range(self.times):
                        out = ir.Variable(edit.fresh("slow"), np.float32, [64, 64])
                        edit.insert_before(node, ir.Node("MatMul", inputs=[last, eye], outputs=[out]))
                        last = out
                    edit.replace_input(node, 0, last)
        return edit.changed


@dataclass(frozen=True)
class Rename(Pass):
    """Gives the first node a name."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        if graph.nodes[0].name == "first" or not ctx.allow("named", graph.nodes[0]):
            return False
        graph.nodes[0].name = "first"
        return True


def guarded(*steps: Pass) -> tuple[ir.Graph, Manager, Context]:
    graph, ctx = ir.from_proto(onnx.parser.parse_model(MODEL)), Context()
    manager = Manager(guard=LatencyGuard())
    manager.run(graph, pipeline(*steps), ctx)
    return graph, manager, ctx


def test_what_makes_the_model_slower_is_undone_and_the_rest_stands() -> None:
    graph, manager, ctx = guarded(repeat(Rename(), Slow()))
    assert [node.op for node in graph.nodes] == ["MatMul", "Relu"]
    assert graph.nodes[0].name == "first"
    assert [(run.name, run.changed, bool(run.taken_back)) for run in manager.runs] == [
        ("rename", True, False),
        ("slow", False, True),
        ("rename", False, False),
    ]
    assert [rewrite.pass_name for rewrite in ctx.rewrites] == ["rename"]
    assert "times as long after it" in ctx.warnings[0] and ctx.warnings[0].startswith("slow: taken back")


def test_the_end_is_measured_against_the_input_and_that_against_itself() -> None:
    _, manager, _ = guarded(Rename())
    guard = manager.guard
    assert isinstance(guard, LatencyGuard) and guard.total is not None and guard.noise is not None
    assert len(guard.total.values) == len(guard.noise.values) >= 5


@dataclass
class Told(LatencyGuard):
    """A guard that is told what it measures."""

    ratios: list[Ratio] = field(default_factory=list)

    def _compare(self, session: object) -> Ratio:
        return self.ratios.pop(0)


@pytest.mark.parametrize(
    ("ratios", "taken"),
    [
        ([Ratio((1.3,) * 9), Ratio((1.2,) * 9)], True),
        ([Ratio((1.3,) * 9), Ratio((1.0,) * 9)], False),  # the second look does not confirm it
        ([Ratio((1.01,) * 9)], False),  # within the tolerance
        ([Ratio((0.8, 0.9, 1.3, 1.4, 1.5))], False),  # noise
    ],
)
def test_a_difference_inside_the_noise_is_none(ratios: list[Ratio], taken: bool) -> None:
    guard = Told(ratios=list(ratios))
    manager = Manager(guard=guard)
    manager.run(ir.from_proto(onnx.parser.parse_model(MODEL)), pipeline(Slow(times=1)), Context())
    assert bool(manager.runs[0].taken_back) is taken
    assert not guard.ratios
