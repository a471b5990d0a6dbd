from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption, CheckFailed, OnnxoptError
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.instruments.claims import Claims
from onnxopt.pipeline.instruments.costing import Costing
from onnxopt.pipeline.instruments.printing import Printing
from onnxopt.pipeline.instruments.snapshots import Snapshots
from onnxopt.pipeline.instruments.timing import Timing
from onnxopt.pipeline.manager import Instrument, Manager
from tests.pipeline import planted
from tests.pipeline.planted import Annotate, Nothing, Touch, editing, pipeline


def watch(instrument: Instrument, *steps: Pass) -> ir.Graph:
    graph = planted.graph()
    Manager([instrument]).run(graph, pipeline(*steps), Context())
    return graph


def drop_tanh(graph: ir.Graph) -> None:
    """Removes a node and an output, for the figures."""
    tanh = graph.nodes.pop()
    tanh.inputs.clear()
    graph.outputs.pop()


def test_timing_has_the_costs_before_and_after_each_pass_that_ran() -> None:
    timing = Timing()
    watch(timing, Nothing(), editing(drop_tanh), Nothing())
    assert [(timed.run.name, timed.before.nodes, timed.after.nodes) for timed in timing.table] == [
        ("nothing", 5, 5),
        ("edited", 5, 4),
        ("nothing", 4, 4),
    ]
    assert all(timed.run.seconds > 0 for timed in timing.table)


def test_costing_takes_the_first_and_the_last_graph() -> None:
    costing = Costing()
    watch(costing, editing(drop_tanh))
    assert (costing.first.nodes, costing.last.nodes) == (5, 4)


def test_costs_are_for_the_sizes_given() -> None:
    one, ten = Costing(), Costing({"N": 10})
    watch(one)
    watch(ten)
    assert ten.first.peak_activation_bytes == 10 * one.first.peak_activation_bytes


def test_a_size_for_a_dimension_that_no_input_has_is_refused() -> None:
    with pytest.raises(BadOption, match=r"^no input has a dimension 'M'; there are: N$"):
        watch(Costing({"M": 3}))


def printed(*steps: Pass, **options: object) -> list[str]:
    texts: list[str] = []
    watch(Printing(texts.append, **options), *steps)  # type: ignore[arg-type]
    return texts


def test_printing_shows_the_graph_before_and_after_the_passes_named() -> None:
    texts = printed(Annotate(), Touch(), before_passes=["touch"], after_passes=["annotate"])
    assert [text.split("\n")[0] for text in texts] == ["// after 1 annotate", "// before 2 touch"]
    parsed = onnx.parser.parse_model(texts[0].split("\n", 1)[1])
    assert [node.op_type for node in parsed.graph.node] == ["Mul", "Relu", "Neg", "Neg", "Tanh"]


def test_all_stands_for_every_pass() -> None:
    texts = printed(Nothing(), Annotate(), before_passes=["all"], after_passes=["all"])
    assert [text.split("\n")[0] for text in texts] == [
        "// before 1 nothing",
        "// after 1 nothing",
        "// before 2 annotate",
        "// after 2 annotate",
    ]


def test_what_changed_is_a_diff_for_each_pass_that_changed_something() -> None:
    texts = printed(Nothing(), editing(drop_tanh), Nothing(), Annotate(), changed=True)
    assert [text.split("\n")[0] for text in texts] == ["// changed by 2 edited", "// changed by 4 annotate"]
    lines = texts[0].split("\n")
    assert any(line.startswith("-") and "Tanh" in line for line in lines)
    assert not any(line.startswith("-") and "Relu" in line for line in lines)
    assert "Tanh" not in texts[1]


def test_snapshots_are_numbered_models_and_texts(tmp_path: Path) -> None:
    graph = watch(Snapshots(tmp_path / "snaps"), Nothing(), Annotate(), Touch())
    names = sorted(path.name for path in (tmp_path / "snaps").iterdir())
    assert names == [
        *("000-input.onnx", "000-input.txt", "002-annotate.onnx", "002-annotate.txt"),
        *("003-touch.onnx", "003-touch.txt"),
    ]
    assert ir.fingerprint(ir.load(tmp_path / "snaps" / "003-touch.onnx")) == ir.fingerprint(graph)
    assert (tmp_path / "snaps" / "003-touch.txt").read_text() == ir.to_text(graph)
    onnx.checker.check_model(str(tmp_path / "snaps" / "002-annotate.onnx"))


def test_snapshots_of_two_runs_are_not_mixed(tmp_path: Path) -> None:
    watch(Snapshots(tmp_path), Annotate())
    with pytest.raises(OnnxoptError, match=r"holds snapshots of an earlier run \(000-input.onnx\)"):
        watch(Snapshots(tmp_path), Annotate())


def test_a_snapshot_folder_may_hold_other_files_and_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    watch(Snapshots(tmp_path))
    with pytest.raises(OnnxoptError, match=r"cannot write snapshots into .*notes.txt"):
        watch(Snapshots(tmp_path / "notes.txt"))


def test_claims_hold_both_ways() -> None:
    watch(Claims(), Nothing(), Annotate(), Touch(), Nothing())
    with pytest.raises(CheckFailed, match=r"^pass 2, denies, changed the graph, but returned False$"):
        watch(Claims(), Annotate(), planted.Denies())
    with pytest.raises(CheckFailed, match=r"^pass 1, edited, changed nothing, but returned True$"):
        watch(Claims(), editing(lambda graph: None))
