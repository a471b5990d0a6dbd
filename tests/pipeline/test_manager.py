from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxopt import ir
from onnxopt.errors import BadData, PassFailed
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.instruments.claims import Claims
from onnxopt.pipeline.instruments.stop_before import StopBefore
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Instrument, Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline, Preset, Repeat
from tests.passes.checks import run as run_model
from tests.pipeline import planted
from tests.pipeline.planted import Annotate, Nothing, Raises, Touch, editing, pipeline, repeat


def run(
    *steps: Pass | Repeat, instruments: tuple[Instrument, ...] = (), ctx: Context | None = None
) -> tuple[Manager, ir.Graph]:
    manager, graph = Manager(instruments), planted.graph()
    manager.run(graph, pipeline(*steps), ctx or Context())
    return manager, graph


@dataclass
class Diary(Instrument):
    """Writes down every hook."""

    name: str
    entries: list[str]
    refuses: frozenset[int] = field(default=frozenset())

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        self.entries.append(f"{self.name} start")

    def should_run(self, run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
        self.entries.append(f"{self.name} asked {run.index}")
        return run.index not in self.refuses

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        self.entries.append(f"{self.name} before {run.index} {ctx.current}")

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        self.entries.append(f"{self.name} after {run.index} changed={run.changed} rewrites={run.rewrites}")

    def failed(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        self.entries.append(f"{self.name} failed {run.index} {type(run.error).__name__}")

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        self.entries.append(f"{self.name} finish current={ctx.current!r}")


def test_passes_run_in_the_order_of_the_pipeline() -> None:
    manager, _ = run(Nothing(), Annotate(), Touch())
    assert [(r.index, r.name, r.changed) for r in manager.runs] == [
        (1, "nothing", False),
        (2, "annotate", True),
        (3, "touch", True),
    ]


def test_a_run_knows_its_text_its_rewrites_and_its_seconds() -> None:
    manager, graph = run(Annotate(), Touch(bad="first", factor=1.0))
    touched = manager.runs[1]
    assert touched.text == "touch{bad=first factor=1.0}"
    assert (touched.first_rewrite, touched.rewrites) == (1, len(graph.nodes))
    assert touched.seconds > 0


def test_repeat_stops_when_a_round_changes_nothing() -> None:
    manager, graph = run(repeat(Annotate(rounds=3), Nothing()))
    assert graph.metadata_props["rounds"] == "3"
    assert [r.changed for r in manager.runs] == [True, False] * 3 + [False]  # the second has seen this very graph


def test_a_pass_that_had_nothing_to_do_runs_again_once_the_graph_changed() -> None:
    manager, _ = run(Nothing(), Nothing(), Annotate(), Nothing())
    assert [r.name for r in manager.runs] == ["nothing", "annotate", "nothing"]


def test_repeat_stops_after_its_most_rounds() -> None:
    manager, graph = run(repeat(Annotate(rounds=9), rounds=2))
    assert graph.metadata_props["rounds"] == "2"
    assert len(manager.runs) == 2


def test_a_preset_runs_what_it_stands_for() -> None:
    preset = Preset("O9", pipeline(Annotate(), Preset("O8", pipeline(Touch()))))
    manager = Manager()
    manager.run(planted.graph(), Pipeline((preset,)), Context())
    assert [r.name for r in manager.runs] == ["annotate", "touch"]


def test_instruments_are_asked_and_told_in_their_order() -> None:
    diary: list[str] = []
    run(Annotate(), instruments=(Diary("a", diary), Diary("b", diary)))
    assert diary == [
        "a start",
        "b start",
        "a asked 1",
        "b asked 1",
        "a before 1 annotate",
        "b before 1 annotate",
        "a after 1 changed=True rewrites=1",
        "b after 1 changed=True rewrites=1",
        "a finish current=''",
        "b finish current=''",
    ]


def test_a_pass_held_back_by_one_instrument_is_not_run_and_not_shown_to_the_others() -> None:
    diary: list[str] = []
    manager, graph = run(
        Annotate(), Touch(), instruments=(Diary("a", diary), Diary("b", diary, refuses=frozenset({1})))
    )
    assert manager.runs[0].skipped and "rounds" not in graph.metadata_props
    assert not [entry for entry in diary if "before 1" in entry or "after 1" in entry]
    assert "b after 2 changed=True rewrites=5" in diary


def test_stop_before_runs_the_first_passes_only_rounds_counted_on() -> None:
    manager, graph = run(repeat(Annotate(rounds=9), Nothing()), instruments=(StopBefore(4),))
    assert graph.metadata_props["rounds"] == "2"
    assert [r.index for r in manager.runs if not r.skipped] == [1, 2, 3]


def test_a_pass_that_raises_is_named_with_the_first_line_of_its_reason() -> None:
    diary: list[str] = []
    with pytest.raises(PassFailed, match=r"^pass 2, raises, failed: KeyError: .*no rule for third") as caught:
        run(Nothing(), Raises(), instruments=(Diary("a", diary),))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    assert diary[-1] == "a failed 2 PassFailed"


def test_a_run_that_fails_knows_the_rewrites_that_were_made() -> None:
    manager = Manager()
    with pytest.raises(PassFailed):
        manager.run(planted.graph(), pipeline(Raises(at="third")), Context())
    assert manager.runs[0].rewrites == 3
    assert manager.current is manager.runs[0]


def test_an_error_meant_for_the_user_passes_through() -> None:
    def refuse(graph: ir.Graph) -> None:
        raise BadData("calibrate needs --data")

    with pytest.raises(BadData, match=r"^calibrate needs --data$"):
        run(editing(refuse))


def test_an_interrupt_is_no_failure_of_the_pass() -> None:
    def interrupt(graph: ir.Graph) -> None:
        raise KeyboardInterrupt

    diary: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(editing(interrupt), instruments=(Diary("a", diary),))
    assert not [entry for entry in diary if "failed" in entry]


def test_a_pass_that_forgets_to_return_is_told_so() -> None:
    with pytest.raises(PassFailed, match=r"says-nothing, returned None; a pass returns whether it changed anything"):
        run(planted.SaysNothing())


def test_numpy_booleans_are_claims_too() -> None:
    @dataclass(frozen=True)
    class SaysInNumpy(planted.Denies):
        says = np.True_

    manager, _ = run(SaysInNumpy())
    assert manager.runs[0].changed is True


def test_a_graph_that_a_pass_left_unsorted_is_sorted_for_the_next() -> None:
    _, graph = run(editing(lambda graph: graph.nodes.reverse()))
    assert graph.nodes[0].name == "first"
    names = [node.outputs[0].name for node in graph.nodes]
    assert names.index("b") < names.index("c") < names.index("y")


def test_a_file_out_of_order_is_in_order_before_anyone_watches() -> None:
    """Else the first pass, which changes nothing, would be taken for the one that moved the nodes."""
    graph = planted.graph()
    graph.nodes.reverse()
    Manager([Claims(), Verify()]).run(graph, pipeline(Nothing()), Context())
    assert graph.nodes[0].name == "first"


def test_a_cycle_is_the_fault_of_the_pass_that_made_it() -> None:
    def tie(graph: ir.Graph) -> None:
        graph.nodes[1].inputs[0] = graph.nodes[3].outputs[0]

    with pytest.raises(PassFailed, match=r"pass 1, edited, left a graph that is none: graph 'planted' has a cycle"):
        run(editing(tie))


def test_a_pass_written_for_graphsurgeon_leaves_a_graph_of_ours() -> None:
    """gs.Node, gs.Constant and gs.Variable, appended out of order and without a thought of onnxopt."""

    def double_y(graph: ir.Graph) -> None:
        old = graph.outputs[0]
        new = gs.Variable("y2", dtype=np.float32, shape=("N", 4))
        two = gs.Constant("two", np.full(4, 2.0, np.float32))
        graph.nodes.insert(0, gs.Node("Mul", "doubled", inputs=[old, two], outputs=[new]))
        graph.outputs[0] = new

    _, graph = run(editing(double_y))
    assert all(type(node) is ir.Node for node in graph.nodes)
    assert all(isinstance(tensor, ir.Tensor) for node in graph.nodes for tensor in (*node.inputs, *node.outputs))
    assert [node.name for node in graph.nodes].index("doubled") > 3
    x = {"x": np.ones((2, 4), np.float32)}
    before, after = run_model(planted.model(), x), run_model(ir.to_proto(graph), x)
    np.testing.assert_array_equal(after["y2"], 2 * before["y"])
