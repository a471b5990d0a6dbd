from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.api import open_samples
from onnxopt.errors import BadData, CheckFailed
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.bisect import bisect
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.source import Source
from tests.pipeline import planted
from tests.pipeline.planted import Annotate, Approximate, Nothing, Raises, Touch, Ulp, editing, pipeline, repeat


def test_a_gated_fault_is_found_down_to_the_rewrite() -> None:
    steps = pipeline(Annotate(), Touch(bad="third"), Touch())
    culprit = bisect(planted.source(), steps)
    assert culprit is not None
    assert (culprit.run.index, culprit.run.text) == (2, "touch{bad=third}")
    assert (culprit.number, culprit.rewrite.what, culprit.rewrite.where) == (4, "touched", "Neg third")
    assert culprit.reason.startswith("pass 2, touch{bad=third}, broke output")


def test_the_limit_that_is_told_shows_the_break_and_one_less_does_not() -> None:
    steps = pipeline(Annotate(), Touch(bad="third"), Touch())
    number = bisect(planted.source(), steps).number
    Manager([Verify()]).run(planted.graph(), steps, Context(limit=number - 1))
    with pytest.raises(CheckFailed, match=r"^pass 2, "):
        Manager([Verify()]).run(planted.graph(), steps, Context(limit=number))


def test_a_fault_without_the_gate_is_the_pass_alone() -> None:
    culprit = bisect(planted.source(), pipeline(Annotate(), planted.BreakUngated(), Touch()))
    assert (culprit.run.name, culprit.rewrite, culprit.number) == ("break-ungated", None, None)


def test_a_fault_beside_the_gate_is_the_pass_alone() -> None:
    @dataclass(frozen=True)
    class Both(Touch):
        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            planted.scale_weights(graph, 2.0)
            super().run(graph, ctx)
            return True

    culprit = bisect(planted.source(), pipeline(Both()))
    assert (culprit.run.name, culprit.number) == ("both", None)


def test_a_pass_that_raises_is_found_with_the_rewrite_it_raised_on() -> None:
    culprit = bisect(planted.source(), pipeline(Touch(), Raises(at="second"), Touch()))
    assert (culprit.run.index, culprit.number, culprit.rewrite.where) == (2, 5 + 2, "Relu second")
    assert culprit.reason.startswith("pass 2, raises{at=second}, failed: KeyError")


def test_the_round_of_a_repeat_counts() -> None:
    @dataclass(frozen=True)
    class Late(Annotate):
        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            changed = super().run(graph, ctx)
            if changed and graph.metadata_props["rounds"] == "2":
                planted.scale_weights(graph, 3.0)
            return changed

    steps = pipeline(repeat(Nothing(), Late(rounds=5)))
    culprit = bisect(planted.source(), steps)
    assert (culprit.run.index, culprit.number, culprit.rewrite.where) == (4, 2, "round 2")


def test_a_break_that_a_later_pass_mends_is_found_too() -> None:
    steps = pipeline(Touch(bad="first", factor=2.0), Touch(bad="first", factor=0.5))
    assert bisect(planted.source(), steps).run.index == 1


def test_a_bit_lost_after_a_pass_that_promises_less_is_found() -> None:
    assert bisect(planted.source(), pipeline(planted.Reassociate(), Ulp())).run.name == "ulp"


def test_a_denied_change_is_found() -> None:
    assert bisect(planted.source(), pipeline(Nothing(), planted.Denies())).run.name == "denies"


def test_where_nothing_breaks_there_is_no_culprit() -> None:
    assert bisect(planted.source(), pipeline(Annotate(), Approximate(), Touch())) is None


def long_chain(length: int) -> Source:
    nodes = [helper.make_node("Neg", [f"t{i}"], [f"t{i + 1}"], name=f"n{i}") for i in range(length)]
    nodes[0] = helper.make_node("Mul", ["t0", "w"], ["t1"], name="n0")
    ends = [helper.make_tensor_value_info(name, 1, [2]) for name in ("t0", f"t{length}")]
    weight = helper.make_tensor("w", 1, [2], [1.0, 2.0])
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weight])
    return Source.of(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]))


def test_the_number_of_runs_is_logarithmic() -> None:
    told: list[str] = []
    culprit = bisect(long_chain(1000), pipeline(Touch(), Touch(bad="n777"), Touch()), tick=told.append)
    assert (culprit.run.index, culprit.number) == (2, 1778)
    assert culprit.runs == len(told) <= 2 + math.ceil(math.log2(1000))


def test_the_data_given_decide(tmp_path) -> None:
    """On negative samples the Relu hides the fault; on generated ones it shows."""
    np.savez(tmp_path / "negative.npz", x=-np.ones((4, 4), np.float32))
    steps = pipeline(planted.BreakUngated())
    samples = open_samples(planted.source(), tmp_path / "negative.npz")
    assert bisect(planted.source(), steps, data=samples) is None
    assert bisect(planted.source(), steps) is not None


def test_a_model_that_does_not_run_is_no_fault_of_a_pass() -> None:
    model = planted.model()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Rleu", "example"
    model.opset_import.append(helper.make_opsetid("example", 1))
    with pytest.raises(CheckFailed, match=r"^cannot verify"):
        bisect(Source.of(model), pipeline(Annotate()))


def test_what_the_user_did_wrong_is_no_fault_of_a_pass() -> None:
    def refuse(graph: ir.Graph) -> None:
        raise BadData("calibrate needs --data")

    with pytest.raises(BadData):
        bisect(planted.source(), pipeline(editing(refuse)))


def test_the_promise_of_the_passes_before_holds_in_the_search() -> None:
    """Pass 1 promises accuracy, so pass 2 may not be blamed for what pass 1 approximated."""
    sloppy: Pass = editing(lambda graph: None, Preserves.ACCURACY)
    culprit = bisect(planted.source(), pipeline(Approximate(), sloppy, Touch(bad="fourth")))
    assert (culprit.run.index, culprit.rewrite.where) == (3, "Neg fourth")
