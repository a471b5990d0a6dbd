"""Calibrating from the command line: ranges in a file, and data that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxopt.cli.progress import rate
from tests.cli.conftest import Command

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, 8, 8] x) => (float[N, 3, 8, 8] y)
  <float[3, 2, 1, 1] w = {1, 2, -1, 0.5, -1, -1}> { c = Conv(x, w) y = Relu(c) }"""


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    path = tmp_path / "conv.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


def data(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def test_ranges_are_saved_and_used_again(onnxopt: Command, conv: Path, tmp_path: Path) -> None:
    samples = data(tmp_path, x=np.ones((5, 2, 8, 8), np.float32))
    ended = onnxopt("run", conv, "-p", "calibrate{method=mse}", "--data", samples, "--save-ranges", "r.json")
    assert ended.code == 0 and "wrote r.json" in ended.err
    saved = json.loads((tmp_path / "r.json").read_text())
    assert (saved["version"], saved["method"], saved["samples"]) == (1, "mse", 5)
    assert saved["tensors"]["x"]["seen_high"] == 1
    assert onnxopt("run", conv, "-p", "calibrate{ranges=r.json},quantize", "-o", "q.onnx").code == 0
    assert (tmp_path / "q.onnx").exists()


def test_ranges_of_another_model_are_refused(onnxopt: Command, conv: Path, model: Path, tmp_path: Path) -> None:
    samples = data(tmp_path, x=np.ones((5, 2, 8, 8), np.float32))
    onnxopt("run", conv, "-p", "calibrate", "--data", samples, "--save-ranges", "r.json")
    ended = onnxopt("run", model, "-p", "calibrate{ranges=r.json}", "--no-verify")
    assert ended.code == 2 and "r.json was calibrated on another graph" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_nothing_to_save(onnxopt: Command, conv: Path, tmp_path: Path) -> None:
    ended = onnxopt("run", conv, "-p", "fold-constants", "--save-ranges", "r.json", "-o", "out.onnx")
    assert ended.code == 2 and "--save-ranges: nothing was calibrated; put the pass calibrate" in ended.err
    assert not (tmp_path / "r.json").exists() and not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"image": np.ones((2, 2, 8, 8), np.float32)}, "has no input 'x'; it has: image"),
        (
            {"x": np.ones((2, 3, 8, 8), np.float32)},
            r"input 'x' takes float32[N, 2, 8, 8], a sample is float32[3, 8, 8]",
        ),
        ({"x": np.ones((2, 2, 8, 8))}, "input 'x' takes float32[N, 2, 8, 8], a sample is float64[2, 8, 8]"),
        ({"x": np.ones((0, 2, 8, 8), np.float32)}, "holds no samples"),
        ({"x": np.full((2, 2, 8, 8), np.nan, np.float32)}, "input 'x' holds NaN or infinity in sample 0"),
    ],
)
def test_data_that_do_not_fit(
    onnxopt: Command, conv: Path, tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
) -> None:
    ended = onnxopt("run", conv, "-p", "calibrate", "--no-verify", "--data", data(tmp_path, **arrays))
    assert ended.code == 2 and reason in ended.err and len(ended.err.splitlines()) == 1


def test_rates() -> None:
    assert [rate(speed) for speed in (None, 0.0, 3.21, 12.4, 12345.6)] == ["", "", "3.2/s", "12/s", "12,346/s"]
