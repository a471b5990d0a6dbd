"""The workflows of examples/: what they make, whatever the speed of the machine; with `-m slow` on all their data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
WORKFLOWS = ("scikit_learn_to_edge", "driving_model", "beauty_filter", "transformer")
QUICK = ("--seconds", "0.2", "--samples")


def run(name: str, folder: Path, *options: str) -> Any:
    """The figures of a workflow; the tables that it prints have the rows and headings of those in its README."""
    command = [sys.executable, str(EXAMPLES / name / "run.py"), "--out", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = (folder / "tables.md").read_text()
    assert printed in done.stdout
    readme = (EXAMPLES / name / "README.md").read_text()
    assert [line for line in outline(printed) if line not in outline(readme)] == []
    return json.loads((folder / "figures.json").read_text())


def outline(text: str) -> list[tuple[str, ...]]:
    """Of each table its heading, and of its other rows the first cell."""
    found, previous = list[tuple[str, ...]](), ""
    for line in text.splitlines():
        cells = tuple(cell.strip() for cell in line.split("|")[1:-1])
        if cells and not set(line) <= set("|-"):
            found.append(cells[:1] if previous.startswith("|") else cells)
        previous = line
    return found


def test_a_forest_without_python(tmp_path: Path) -> None:
    pytest.importorskip("skops")
    figures = run("scikit_learn_to_edge", tmp_path, "--seconds", "0.2")
    assert set(figures["equal"].values()) == {30}
    size = figures["bytes"]
    assert size["compact-trees"] <= 0.45 * size["lowered"]
    gained = size["compact-trees"] - size["quantize-dynamic"]
    assert 0 <= gained < 0.02 * size["compact-trees"], "the README says that quantizing a forest gains nothing"


def _is_four_times_smaller(figures: Any) -> bool:
    return bool(4 * figures["models"]["int8"]["bytes"] <= figures["models"]["float32"]["bytes"])


def test_a_driving_model_of_a_quarter(tmp_path: Path) -> None:
    for package in ("onnxruntime_qnn", "tensorrt_rtx"):
        pytest.importorskip(package)
    figures = run("driving_model", tmp_path, *QUICK, "24")
    assert _is_four_times_smaller(figures)
    assert figures["precisions"]["by_precision"]["int8"]["share"] > 0.9 and not figures["precisions"]["fell_back"]
    assert [batch["batch"] for batch in figures["bench"]["batches"]] == [1, 2, 4, 8]
    assert all((tmp_path / f"steering.{end}").exists() for end in ("dlc", "bin", "engine"))


@pytest.mark.slow
def test_a_driving_model_that_still_drives(tmp_path: Path) -> None:
    for package in ("onnxruntime_qnn", "tensorrt_rtx"):
        pytest.importorskip(package)
    figures = run("driving_model", tmp_path)
    assert _is_four_times_smaller(figures) and figures["models"]["int8"]["accuracy"]["drop"] < 1
    assert figures["emulated"]["drop"] < 1


def _is_small_and_sharp(figures: Any) -> bool:
    package = figures["models"]["Core ML package"]
    return bool(package["bytes"] < 100_000 and package["accuracy"]["drop"] <= 0.2)


def test_a_filter_for_the_phone(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    assert _is_small_and_sharp(run("beauty_filter", tmp_path, *QUICK, "1"))
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")
    assert {"measure.py", "Measure.swift"} <= {path.name for path in (tmp_path / "kit").iterdir()}


@pytest.mark.slow
def test_a_filter_on_all_photos(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    assert _is_small_and_sharp(run("beauty_filter", tmp_path))


def test_a_transformer_in_standard_onnx(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    figures = run("transformer", tmp_path, *QUICK, "2")
    ours, theirs = figures["models"]["O3"], figures["models"]["onnxruntime.transformers"]
    assert ours["nodes"] < 0.55 * figures["models"]["lowered"]["nodes"]
    assert float(ours["accuracy"]["model"]) > 100 < float(theirs["accuracy"]["model"])  # dB: rounding
    assert (
        figures["own"]["O3"] == figures["own"]["O3, quantize-dynamic"] == 0 < figures["own"]["onnxruntime.transformers"]
    )
    assert float(figures["models"]["O3, quantize-dynamic"]["accuracy"]["model"]) > 25
    assert figures["bytes"]["O3, quantize-dynamic"] < 1.02 * figures["bytes"]["theirs, quantize_dynamic"]
    for name in ("fused", "int8"):
        (ids, _) = onnx.load(tmp_path / f"{name}.onnx").graph.input
        assert [dim.dim_param for dim in ids.type.tensor_type.shape.dim] == ["batch", "sequence"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_readmes_name_the_command(name: str) -> None:
    command = f"python examples/{name}/run.py"
    assert command in (EXAMPLES / name / "README.md").read_text() and command in (EXAMPLES / "README.md").read_text()


def test_what_the_readmes_name_is_there() -> None:
    for readme in (EXAMPLES / "README.md", *EXAMPLES.glob("*/README.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme.read_text()):
            assert (readme.parent / target).exists(), f"{readme}: {target}"
