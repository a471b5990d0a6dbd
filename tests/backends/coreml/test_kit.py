"""A kit: a package with what measures it, and what was measured read back."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.backends.coreml_kit import PACKAGE, SCRIPTS, UNMEASURED, CoremlKit, measure
from onnxopt.backends.coreml_kit.latency import lines, read_latency
from onnxopt.errors import BadModel, BadOption

coremltools = pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.packages import Package, model  # noqa: E402

GIVEN = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
RUN = {
    "units": "all",
    "load_seconds": 0.5,
    "first_milliseconds": 2.0,
    "iterations": 9,
    "milliseconds": {"median": 1.25, "p90": 1.5, "least": 1.0},
}
TOLD: dict[str, Any] = {
    "kind": "latency",
    "schema": 1,
    "engine": "Core ML",
    "package": {"name": PACKAGE, "hash": "h"},
    "device": {"model": "Mac15,3", "system": "macOS 26.0"},
    "runs": [RUN, {"units": "cpu-and-gpu", "error": "no GPU"}],
}


def test_a_kit_has_a_package_and_what_measures_it(tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    for _ in range(2):  # the second takes the place of the first
        artifact = CoremlKit().write(ir.from_proto(GIVEN), kit)
    assert {each.name for each in kit.iterdir()} == {PACKAGE, f"{PACKAGE}.json", *SCRIPTS}
    assert artifact.notes[-1] == UNMEASURED
    assert artifact.facts["latency"] == "not measured"
    assert json.loads((kit / f"{PACKAGE}.json").read_text())["hash"] == artifact.facts["hash"]
    assert set(CoremlKit.inspect(kit)["latency"].values()) == {"not measured"}
    (kit / "latency.json").write_text(json.dumps({**TOLD, "package": {"hash": artifact.facts["hash"]}}))
    assert CoremlKit.inspect(kit)["latency"]["all"] == "1.250 ms"
    (kit / "latency.json").write_text(json.dumps(TOLD))
    with pytest.raises(BadModel, match="measured of another package"):
        CoremlKit.inspect(kit)


def test_folders_that_are_no_kits_are_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="is there and is no kit"):
        CoremlKit().require_usable(tmp_path)
    with pytest.raises(BadModel, match="is no kit"):
        CoremlKit.inspect(tmp_path)


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    file.write_text(json.dumps(TOLD))
    assert lines(read_latency(file, "h")) == {
        "all": "1.250 ms",
        "cpu-and-neural-engine": "not measured",
        "cpu-and-gpu": "not measured: no GPU",
        "cpu-only": "not measured",
    }


@pytest.mark.parametrize(
    "told", ["", "[]", "{}", json.dumps({**TOLD, "schema": 2}), json.dumps({**TOLD, "runs": [{"units": "all"}]})]
)
def test_what_is_no_latency(told: str, tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    file.write_text(told)
    with pytest.raises(BadModel, match="is no latency that a kit measured"):
        read_latency(file)


def test_the_script_measures_and_writes_what_is_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for what only macOS has: the predictions."""
    Package(GIVEN, tmp_path / PACKAGE, "iOS17", "float32")
    (tmp_path / f"{PACKAGE}.json").write_text('{"hash": "h"}')
    monkeypatch.setattr(measure, "PACKAGE", tmp_path / PACKAGE)
    monkeypatch.setattr(measure, "HERE", tmp_path)
    monkeypatch.setattr(measure, "_model", lambda: "Mac")

    class Fake:
        def __init__(self, path: str, compute_units: str) -> None:
            if compute_units == "CPU_AND_NE":
                raise RuntimeError("no Neural\nEngine")

        def predict(self, feeds: dict[str, Any]) -> None:
            assert feeds["x"].shape == (1, 4)
            assert feeds["x"].dtype == np.float32

    units = types.SimpleNamespace(**{name: name for name in measure.UNITS.values()})
    engine = types.SimpleNamespace(
        models=types.SimpleNamespace(MLModel=Fake), ComputeUnit=units, utils=coremltools.utils
    )
    feeds = measure.inputs(engine, None)
    runs = [measure.measure(engine, each, feeds, 5, 1) for each in measure.UNITS]
    (tmp_path / "latency.json").write_text(json.dumps(measure.report(runs)))
    found = read_latency(tmp_path / "latency.json", "h")
    assert [run.units for run in found.runs] == list(measure.UNITS)
    assert [run.error for run in found.runs] == ["", "no Neural Engine", "", ""]
    assert found.runs[0].median is not None
