"""The model after the input and after each element of a pipeline as it was written."""

from __future__ import annotations

from pathlib import Path

import onnx

from onnxopt.api import RunRequest
from onnxopt.pipeline.instruments.stages import Stages
from onnxopt.pipeline.pipeline import Pipeline, Preset
from tests.pipeline import planted


def staged(pipeline: Pipeline, folder: Path) -> list[tuple[str, list[float]]]:
    """The names, and the weights as they were then."""
    stages = Stages(pipeline, folder)
    RunRequest(planted.source(), pipeline, instruments=[stages]).run()
    return [(name, onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0]).tolist())
            for name, path in stages.models]  # fmt: skip


def test_each_named_pass_and_preset_is_one_stage(tmp_path: Path) -> None:
    twice = Preset("twice", Pipeline((planted.Approximate(factor=2.0), planted.Nothing(), planted.Approximate(3.0))))
    pipeline = planted.pipeline(planted.Approximate(10.0), twice, planted.Nothing())  # type: ignore[arg-type]
    assert staged(pipeline, tmp_path) == [
        ("input", [1, 2, 3, 4]),
        ("approximate{factor=10.0}", [10, 20, 30, 40]),
        ("twice", [60, 120, 180, 240]),
        ("nothing", [60, 120, 180, 240]),
    ]


def test_a_repeat_is_one_stage_however_often_it_runs(tmp_path: Path) -> None:
    pipeline = planted.pipeline(planted.repeat(planted.Annotate(rounds=3)), planted.Approximate(2.0))
    names = [name for name, _ in staged(pipeline, tmp_path)]
    assert names == ["input", "repeat(annotate{rounds=3})", "approximate{factor=2.0}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.onnx", "1.onnx", "2.onnx"]
