from __future__ import annotations

from pathlib import Path

import pytest

from onnxopt import ir
from onnxopt.errors import OnnxoptError, PassFailed
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.reproducer import flags, write_reproducer
from tests.pipeline import planted
from tests.pipeline.planted import Annotate, Nothing, Raises, Touch, pipeline, repeat


def fail(steps: Pipeline, folder: Path, limit: int | None = None) -> tuple[str, Manager]:
    """Run until a pass raises, write the reproducer; its command and the failed run."""
    manager, ctx = Manager(), Context(limit=limit)
    with pytest.raises(PassFailed) as caught:
        manager.run(planted.graph(), steps, ctx)
    command = write_reproducer(folder, planted.source(), steps, manager.runs[-1], caught.value, ctx)
    return command, manager


def test_the_model_is_the_graph_as_it_was_before_the_failing_pass(tmp_path: Path) -> None:
    command, _ = fail(pipeline(Annotate(), Touch(), Raises()), tmp_path / "repro")
    before = planted.graph()
    Manager().run(before, pipeline(Annotate(), Touch()), Context())
    assert ir.fingerprint(ir.load(tmp_path / "repro" / "model.onnx")) == ir.fingerprint(before)
    assert command == f"onnxopt run {tmp_path}/repro/model.onnx --passes raises"


def test_what_the_failing_pass_did_before_it_raised_is_not_in_the_model(tmp_path: Path) -> None:
    fail(pipeline(Touch(), Raises()), tmp_path)
    assert "looked" not in (tmp_path / "model.onnx").read_bytes().decode(errors="replace")


def test_the_options_of_the_pass_are_quoted_for_the_shell(tmp_path: Path) -> None:
    command, _ = fail(pipeline(Raises(at="second")), tmp_path)
    assert command.endswith("--passes 'raises{at=second}'")
    assert (tmp_path / "command.txt").read_text() == command + "\n"


def test_the_error_is_kept_with_its_traceback(tmp_path: Path) -> None:
    fail(pipeline(Raises()), tmp_path)
    text = (tmp_path / "error.txt").read_text()
    assert "Traceback" in text and "KeyError" in text and "no rule for third" in text


def test_a_pass_that_fails_in_a_later_round_gets_the_graph_of_that_round(tmp_path: Path) -> None:
    class Third(Annotate):
        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            if graph.metadata_props.get("rounds") == "2":
                raise ValueError("third round")
            return super().run(graph, ctx)

    from dataclasses import dataclass

    fail(pipeline(repeat(Nothing(), dataclass(frozen=True)(Third)(rounds=9))), tmp_path)
    assert ir.load(tmp_path / "model.onnx").metadata_props == {"rounds": "2"}


def test_the_limit_is_what_the_passes_before_left_of_it(tmp_path: Path) -> None:
    command, _ = fail(pipeline(Touch(), Raises(at="second")), tmp_path, limit=7)
    assert command.endswith("--limit 2")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OnnxoptError, match=r"cannot write the reproducer into .*file/repro: Not a directory"):
        fail(pipeline(Raises()), tmp_path / "file" / "repro")


def test_flags_repeat_plugins_data_target_and_sizes() -> None:
    assert flags([Path("a.py"), Path("b.py")], None, "onnx", {"N": 4}) == [
        *("--plugin", "a.py", "--plugin", "b.py"),
        *("--target", "onnx", "--dim", "N=4"),
    ]
