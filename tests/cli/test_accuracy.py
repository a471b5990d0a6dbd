"""Accuracy from the command line: `verify --metric` and `run --metric`, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxopt.cli.app import main  # noqa: F401  # the commands are there
from tests.cli.conftest import Command

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 3] y)
  <float[3, 3] w = {1, 0, 0, 0, 1, 0, 0, 0, 1}> { p = MatMul (x, w) y = Relu (p) }"""
ROWS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]] + 0.25
ARRAYS = {"x": ROWS, "label": np.array([0, 1, 2, 0, 0]), "target": ROWS * 1.5}


def write(name: str, change: tuple[str, str] = ("", "")) -> Path:
    onnx.save(onnx.parser.parse_model(MODEL.replace(*change) if change[0] else MODEL), name)
    return Path(name)


@pytest.fixture
def data(onnxopt: Command) -> Path:
    np.savez("test.npz", **ARRAYS)
    np.savez("calibration.npz", x=ROWS + 0.125)
    return Path("test.npz")


@pytest.fixture
def good(data: Path) -> Path:
    return write("good.onnx")


@pytest.fixture
def worse(data: Path) -> Path:
    """Sees class 0 nowhere."""
    return write("worse.onnx", ("{1, 0, 0,", "{0, 0, 0,"))


def test_both_models_side_by_side(onnxopt: Command, good: Path, worse: Path, data: Path) -> None:
    ended = onnxopt("verify", good, worse, "--data", data, "--metric", "top1")
    assert (ended.code, ended.err) == (0, "")
    row = next(line for line in ended.out.splitlines() if line.startswith("top1"))
    assert row.split() == ["top1", "80.00", "%", "40.00", "%", "-40.00", "%"]
    assert "weights" in ended.out and "5 samples of test.npz, against 'label'" in ended.out


@pytest.mark.parametrize(("most", "code"), [("40", 0), ("39.9", 1), ("0", 1)])
def test_what_may_be_lost_decides(onnxopt: Command, good: Path, worse: Path, data: Path, most: str, code: int) -> None:
    ended = onnxopt("verify", good, worse, "--data", data, "--metric", "top1", "--max-drop", most)
    assert ended.code == code and "top1" in ended.out
    if code:
        assert ended.err == (
            f"onnxopt: worse.onnx: top1 drops from 80.00 % to 40.00 %, by 40.00 %, and {float(most):.2f} % is allowed\n"
        )


def test_json_has_everything(onnxopt: Command, good: Path, worse: Path, data: Path) -> None:
    options = ("--metric", "psnr", "--labels", "target", "--per-layer", "--max-drop", "0.1", "--samples", "2", "--json")
    ended = onnxopt("verify", good, worse, "--data", data, *options)
    told = ended.json()
    assert ended.code == 1 and told["reference"] > told["model"] and told["drop"] == told["reference"] - told["model"]
    assert (told["metric"], told["unit"], told["samples"], told["arrays"]) == ("psnr", "dB", 2, ["target"])
    assert told["max_drop"] == 0.1 and told["bytes"]["weights"] == [36, 36] and told["snr"].keys() == {"y"}
    assert [(row["tensor"], row["operator"]) for row in told["layers"]] == [("p", "MatMul"), ("y", "Relu")]


def test_outputs_of_the_reference_are_the_measure_where_there_is_no_target(
    onnxopt: Command, good: Path, worse: Path, data: Path
) -> None:
    ended = onnxopt("verify", good, worse, "--data", data, "--metric", "cosine", "--json")
    assert ended.code == 0 and ended.json()["reference"] is None and 0 < ended.json()["drop"] < 1
    ended = onnxopt("verify", good, good, "--data", data, "--metric", "snr")
    assert ended.code == 0 and "inf dB" in ended.out and "against what the reference gives" in ended.out


def test_per_layer_goes_with_the_comparison_too(onnxopt: Command, good: Path, data: Path) -> None:
    ended = onnxopt("verify", good, good, "--data", data, "--per-layer")
    assert ended.code == 0 and "bit for bit" in ended.out and "MatMul" in ended.out and "equal" in ended.out
    assert len(onnxopt("verify", good, good, "--data", data, "--per-layer", "--json").json()["layers"]) == 2


def test_nan_fails_whatever_may_be_lost(onnxopt: Command, good: Path, data: Path) -> None:
    broken = write("broken.onnx", ("y = Relu (p)", "n = Neg (p) y = Sqrt (n)"))
    ended = onnxopt("verify", good, broken, "--data", data, "--metric", "snr", "--json")
    assert ended.code == 1 and ended.json()["model"] == "nan"
    assert ended.err == (
        "onnxopt: broken.onnx: output 'y' holds NaN or infinity in sample 0, where the reference is finite\n"
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--metric", "top1"], "--metric top1 needs samples to judge on: give --data D"),
        (["--per-layer"], "--per-layer needs samples to run: give --data D"),
        (["--data", "test.npz", "--labels", "label"], "--labels is for --metric, which is not given"),
        (["--data", "test.npz", "--max-drop", "1"], "--max-drop is for --metric, which is not given"),
        (["--data", "test.npz", "--metric", "top1", "--promise", "bits"], "--metric and --promise exclude each other"),
        (["--data", "test.npz", "--metric", "top5"], "there is no metric 'top5': give top1, psnr"),
        (
            ["--data", "test.npz", "--metric", "top1", "--labels", "x1"],
            "test.npz has no array 'x1'; it has: label, target",
        ),
        (["--data", "test.npz", "--metric", "top1", "--labels", "target"], "'target' is float32[3] a sample"),
        (["--data", "calibration.npz", "--metric", "top1"], "calibration.npz has inputs only"),
        (["--data", "test.npz", "--metric", "snr", "--max-drop", "1"], "a drop of snr needs a target"),
        (["--data", "test.npz", "--metric", "top1", "--max-drop", "nan"], "a drop of nan cannot be allowed"),
        (["--data", "test.npz", "--metric", "top1", "--max-drop", "-1"], "a drop of -1.0 cannot be allowed"),
        (["--data", "test.npz", "--metric", "nowhere:f"], "metric nowhere:f cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_judged(onnxopt: Command, good: Path, options: list[str], reason: str) -> None:
    ended = onnxopt("verify", good, good, *options)
    assert (ended.code, ended.out) == (2, "") and reason in ended.err and len(ended.err.splitlines()) == 1


def test_a_function_of_the_users(onnxopt: Command, good: Path, worse: Path, data: Path) -> None:
    Path("accuracy_of_mine.py").write_text(
        "def largest(outputs, extras):\n    return float(outputs['y'].max() * extras['label'].size)\n"
        "def failing(outputs, extras):\n    raise RuntimeError('two\\nlines')\n"
    )
    ended = onnxopt("verify", good, worse, "--data", data, "--metric", "accuracy_of_mine:largest", "--json")
    assert ended.code == 0 and ended.json()["reference"] == 1.25
    ended = onnxopt("verify", good, worse, "--data", data, "--metric", "accuracy_of_mine:failing")
    assert ended.code == 2
    assert ended.err == "onnxopt: metric accuracy_of_mine:failing raised RuntimeError: two lines\n"


def test_nan_in_the_data_is_refused(onnxopt: Command, good: Path) -> None:
    np.savez("nan.npz", x=ROWS * np.nan, label=ARRAYS["label"])
    np.savez("aim.npz", x=ROWS, target=ROWS * np.nan)
    ended = onnxopt("verify", good, good, "--data", "nan.npz", "--metric", "top1")
    assert ended.code == 2 and "input 'x' holds NaN or infinity in sample 0" in ended.err
    ended = onnxopt("verify", good, good, "--data", "aim.npz", "--metric", "psnr", "--labels", "target")
    assert ended.code == 2 and "psnr: 'target' holds what is no finite number" in ended.err


QUANTIZE = ("-p", "quantize", "--data", "calibration.npz")


def test_a_run_shows_the_accuracy_before_and_after(onnxopt: Command, good: Path, data: Path) -> None:
    ended = onnxopt("run", good, *QUANTIZE, "--metric", "top1", "--eval", data)
    assert ended.code == 0 and "top1 on 5 samples of test.npz, against 'label'" in ended.err
    row = next(line for line in ended.err.splitlines() if " top1 " in line and "%" in line)
    assert row.split()[1:-1] == ["top1", "80.00", "%", "80.00", "%", "none"]
    assert max(map(len, ended.err.splitlines())) <= 100
    told = onnxopt("run", good, *QUANTIZE, "--metric", "top1", "--eval", data, "--json").json()
    assert (told["accuracy"]["reference"], told["accuracy"]["model"], told["sensitivity"]) == (80.0, 80.0, None)
    assert onnxopt("run", good, *QUANTIZE, "--json").json()["accuracy"] is None


def test_a_run_shows_what_each_layer_brings(onnxopt: Command, good: Path, data: Path) -> None:
    ended = onnxopt("run", good, "-p", "quantize{keep-float=auto}", "--data", "calibration.npz")
    assert ended.code == 0 and "quantized alone" in ended.err and "0 of 1 layers in float; cosine" in ended.err
    assert max(map(len, ended.err.splitlines())) <= 100
    told = onnxopt("run", good, "-p", "quantize{keep-float=auto}", "--data", "calibration.npz", "--json").json()
    assert [layer["kept"] for layer in told["sensitivity"]["layers"]] == [False]
    assert told["sensitivity"]["chosen"]["metric"] == "cosine"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--metric", "top1"], "--metric top1 needs samples to judge on: give --eval D"),
        (["--eval", "test.npz"], "--eval is for --metric, which is not given"),
        (["--metric", "snr", "--eval", "calibration.npz"], "--eval calibration.npz is the calibration data"),
        (["--metric", "snr", "--eval", "./calibration.npz"], "--eval ./calibration.npz is the calibration data"),
        (["--metric", "top1", "--eval", "nowhere.npz"], "there is no data at nowhere.npz"),
    ],
)
def test_what_a_run_refuses_before_it_starts(onnxopt: Command, good: Path, options: list[str], reason: str) -> None:
    ended = onnxopt("run", good, *QUANTIZE, "-o", "out.onnx", *options)
    assert (ended.code, ended.out) == (2, "") and reason in ended.err and len(ended.err.splitlines()) == 1
    assert not Path("out.onnx").exists()
