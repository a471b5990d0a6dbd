"""`onnxopt run --stages`: size, latency and the metric after the input and after each named pass and artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command

DIGITS = Path(__file__).parent.parent.parent / "fixtures" / "digits_mobilenet"
RUN = ("run", DIGITS / "digits_mobilenet.onnx", "--passes", "O1,prune{sparsity=0.9},quantize-weights")
DATA = ("--data", DIGITS / "calibration.npz", "--metric", "top1", "--eval", "few.npz")


@pytest.fixture(autouse=True)
def _few_samples_and_rounds(onnxopt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(DIGITS / "test.npz") as arrays:
        np.savez("few.npz", **{name: array[:64] for name, array in arrays.items()})
    monkeypatch.setattr("onnxopt.runtime.side_by_side._ROUNDS", 7)


def test_every_stage_beside_the_input(onnxopt: Command) -> None:
    pytest.importorskip("matplotlib")
    ended = onnxopt(
        *RUN, *DATA, "-o", "out.onnx", "--stages", "--plot", "stages.png", "--emit", "onnx=copy.onnx", "--json"
    )
    assert ended.code == 0 and Path("stages.png").read_bytes().startswith(b"\x89PNG")
    told = ended.json()
    stages = told["stages"]["models"]
    assert [each["name"] for each in stages] == ["input", "O1", "prune{sparsity=0.9}", "quantize-weights", "onnx"]
    assert stages[3]["bytes"] < stages[2]["bytes"] <= stages[0]["bytes"] and stages[3]["bytes"] == stages[4]["bytes"]
    top1 = [each["accuracy"]["model"] for each in stages]
    assert top1[0] == top1[1] > 90 and top1[2] < 90 and top1[3] == top1[4] == told["accuracy"]["model"]
    (batch,) = told["stages"]["batches"]
    assert [each["name"] for each in batch["latency"]] == [each["name"] for each in stages]
    assert stages[3]["bytes"] == Path("out.onnx").stat().st_size
    assert told["written"] == ["out.onnx", "copy.onnx", "stages.png"]


def test_the_table_stands_beside_the_run_s(onnxopt: Command) -> None:
    ended = onnxopt(*RUN[:-1], "O1", "-o", "out.onnx", "--stages")
    assert (ended.code, ended.out) == (0, "") and max(map(len, ended.err.splitlines())) <= 100
    assert ended.err.index("largest output difference") < ended.err.index("batch 1, ms") < ended.err.index("wrote out")
    assert [line.split()[0] for line in ended.err.splitlines() if " MiB " in line] == ["input", "O1"]


def test_a_picture_of_no_stages(onnxopt: Command) -> None:
    ended = onnxopt(*RUN, "--plot", "stages.png")
    assert ended.code == 2 and ended.err == "onnxopt: --plot draws what --stages measures, which is not given\n"
