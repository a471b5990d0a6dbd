"""`onnxopt sensitivity`: the table, the JSON and the picture, and what is refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Command

DIGITS = Path(__file__).parent.parent.parent / "fixtures" / "digits_mobilenet"
MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
  <float[4, 4] w = {9, 1, 1, 1, 1, 9, 1, 1, 1, 1, 9, 1, 1, 1, 1, 9},
   float[4, 4] v = {5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5}> {
   [one] a = MatMul (x, w) r = Relu (a) [two] y = MatMul (r, v) }"""
ROWS = np.eye(4, dtype=np.float32)


@pytest.fixture
def small(onnxopt: Command) -> Path:
    onnx.save(onnx.parser.parse_model(MODEL), "small.onnx")
    np.savez("calibration.npz", x=ROWS + 0.125)
    np.savez("test.npz", x=np.concatenate([ROWS, ROWS]), label=np.array([0, 1, 2, 3] * 2), other=np.zeros((8, 7)))
    return Path("small.onnx")


def test_the_outputs_are_the_measure_without_anything_else(onnxopt: Command, small: Path) -> None:
    ended = onnxopt("sensitivity", small, "--data", "calibration.npz")
    assert (ended.code, ended.err) == (0, "")
    header, _, one, two, *remarks = ended.out.splitlines()
    assert header.split() == [
        "pruned",
        "alone",
        "weights",
        *" % ".join(str(p) for p in range(10, 100, 10)).split(),
        "%",
    ]
    assert one.split()[:3] == ["MatMul", "one", "16"] and two.split()[:3] == ["MatMul", "two", "16"]
    assert two.split()[3:10] == ["equal"] * 7  # 12 of its 16 weights are zeros anyway
    figures = [float(text) for text in one.split()[3:]]
    assert figures == sorted(figures, reverse=True) and figures[0] > 15
    assert "snr in dB against the share of zeros in one layer" in remarks
    assert "4 samples of calibration.npz, against what the original gives" in remarks
    assert max(map(len, ended.out.splitlines())) <= 100


def test_accuracy_on_other_data(onnxopt: Command, small: Path) -> None:
    options = ("--eval", "test.npz", "--metric", "top1", "--labels", "label", "--samples", "5", "--json")
    ended = onnxopt("sensitivity", small, "--data", "calibration.npz", *options)
    told = ended.json()
    assert ended.code == 0 and (told["metric"], told["unit"], told["reference"]) == ("top1", "%", 100.0)
    assert (told["samples"], told["data"], told["arrays"]) == (5, "test.npz", ["label"])
    assert (told["method"], told["pattern"]) == ("magnitude", "unstructured")
    assert told["sparsities"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    one, two = told["layers"]
    assert (one["layer"], one["weight"], one["size"]) == ("MatMul one", "w", 16)
    assert one["values"][:7] == [100.0] * 7 and one["values"][8] < 100 and len(one["snr"]) == 9
    assert two["snr"][0] == "inf"  # as strict JSON has it


def test_patterns_and_layers_to_leave_out(onnxopt: Command, small: Path) -> None:
    ended = onnxopt("sensitivity", small, "--data", "calibration.npz", "--pattern", "2:4", "--exclude", "tw*", "--json")
    told = ended.json()
    assert told["sparsities"] == [0.5] and [layer["layer"] for layer in told["layers"]] == ["MatMul one"]


def test_a_method_that_looks_at_the_data(onnxopt: Command, small: Path) -> None:
    tables = [
        onnxopt("sensitivity", small, "--data", "calibration.npz", "--method", method, "--json").json()
        for method in ("magnitude", "second-order")
    ]
    magnitude, second_order = (told["layers"][0]["values"] for told in tables)
    assert second_order[4] > magnitude[4]


def test_the_picture(onnxopt: Command, small: Path) -> None:
    pytest.importorskip("matplotlib")
    options = ("--eval", "test.npz", "--metric", "top1", "--labels", "label", "--plot", "table.png")
    ended = onnxopt("sensitivity", small, "--data", "calibration.npz", *options)
    assert ended.code == 0 and "MatMul one" in ended.out and ended.err.startswith("wrote table.png, ")
    content = Path("table.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000


def test_without_matplotlib_it_says_what_to_install(
    onnxopt: Command, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return before(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    ended = onnxopt("sensitivity", small, "--data", "calibration.npz", "--plot", "table.png")
    assert (ended.code, ended.out) == (2, "") and not Path("table.png").exists()
    assert ended.err == 'onnxopt: --plot needs matplotlib, which is not installed: pip install "onnxopt[plot]"\n'
    assert onnxopt("sensitivity", small, "--data", "calibration.npz").code == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "sensitivity needs samples: give --data D"),
        (["--data", "calibration.npz", "--eval", "test.npz"], "--eval is for --metric, which is not given"),
        (["--data", "calibration.npz", "--labels", "label"], "--labels is for --metric, which is not given"),
        (["--data", "calibration.npz", "--metric", "top1"], "calibration.npz has inputs only"),
        (["--data", "test.npz", "--eval", "test.npz", "--metric", "snr"], "--eval test.npz is the calibration data"),
        (["--data", "calibration.npz", "--metric", "top5"], "there is no metric 'top5': give top1, psnr"),
        (["--data", "calibration.npz", "--method", "luck"], "prune: method takes one of magnitude|"),
        (["--data", "calibration.npz", "--pattern", "3:2"], "prune: the pattern 3:2 keeps 3 of 2"),
        (["--data", "calibration.npz", "--exclude", "three"], "prune: 'three' matches no layer"),
        (["--data", "calibration.npz", "--exclude", "MatMul"], "nothing can be pruned: every layer is left out"),
        (["--data", "calibration.npz", "--pattern", "3:5"], "nothing can be pruned: no zeros in 3:5"),
        (["--data", "calibration.npz", "--plot", "nowhere/table.png"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_measured(onnxopt: Command, small: Path, options: list[str], reason: str) -> None:
    ended = onnxopt("sensitivity", small, *options)
    assert (ended.code, ended.out) == (2, "") and reason in ended.err and len(ended.err.splitlines()) == 1


def test_digits(onnxopt: Command) -> None:
    data = ("--data", DIGITS / "calibration.npz", "--eval", DIGITS / "test.npz", "--metric", "top1", "--samples", "64")
    options = ("--pattern", "2:4", "--exclude", "/blocks*", "--json")
    told = onnxopt("sensitivity", DIGITS / "digits_mobilenet.onnx", *data, *options).json()
    assert told["reference"] > 95 and [layer["layer"] for layer in told["layers"]] == [
        "Conv /head/head.0/Conv",
        "Gemm /classifier/Gemm",
    ]
    assert all(layer["values"][0] > 90 for layer in told["layers"])
