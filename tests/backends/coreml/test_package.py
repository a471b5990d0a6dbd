"""Packages on disk: whole or not there, equal when made of the same, and telling what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.backends.coreml import Coreml
from onnxopt.backends.coreml.folder import digest, place
from onnxopt.backends.coreml.inspecting import inspect_package
from onnxopt.errors import BadModel, BadOption, OnnxoptError

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from onnxopt.pipeline.backend import Refused
from tests.backends.coreml.packages import Package, model

WEIGHT = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
GIVEN = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 64]}, {"y": [2, 64]}, w=WEIGHT)
REFUSED = model([helper.make_node("Bernoulli", ["x"], ["y"])], {"x": [2]}, {"y": [2]})


def test_a_package_says_what_it_is_made_of(tmp_path: Path) -> None:
    written = Package(GIVEN, tmp_path / "p.mlpackage", "iOS16", "float32")
    found = inspect_package(written.path)
    assert found["operations"] == {"matmul": 1}
    assert found["inputs"] == [{"name": "x", "type": "float32", "shape": [2, 64]}]
    assert found["outputs"] == [{"name": "y", "type": "float32", "shape": [2, 64]}]
    assert found["weights"] == {"float32": 4096}
    assert found["weight bytes"] == written.weight_bytes
    assert found["bytes"] == sum(each.stat().st_size for each in written.path.rglob("*") if each.is_file())
    assert json.loads(json.dumps(found)) == found


def test_encodings_are_told(tmp_path: Path) -> None:
    sparse = WEIGHT * (np.random.default_rng(0).random(WEIGHT.shape) < 0.2)
    given = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 64]}, {"y": [2, 64]}, w=sparse)
    written = Package(given, tmp_path / "p.mlpackage", "iOS16", "float32")
    assert inspect_package(written.path)["encodings"] == {"constexpr_sparse_to_dense": 1}


def test_the_same_model_gives_the_same_hash(tmp_path: Path) -> None:
    hashes = {digest(Package(GIVEN, tmp_path / f"{n}.mlpackage", "iOS17", "float16").path) for n in range(2)}
    assert len(hashes) == 1
    other = Package(GIVEN, tmp_path / "o.mlpackage", "iOS17", "float32")
    assert digest(other.path) not in hashes


def test_no_package(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"Manifest.json cannot be read: No such file"):
        inspect_package(tmp_path)
    (tmp_path / "Manifest.json").write_text("{}")
    with pytest.raises(BadModel, match="its manifest is damaged"):
        inspect_package(tmp_path)


def manifest(path: Path, item: str) -> None:
    path.joinpath("Manifest.json").write_text(
        json.dumps({"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": item}}})
    )


def test_a_manifest_that_leads_out(tmp_path: Path) -> None:
    manifest(tmp_path, "../../etc/passwd")
    with pytest.raises(BadModel, match="names a file outside of it"):
        inspect_package(tmp_path)


def test_a_package_without_a_program(tmp_path: Path) -> None:
    manifest(tmp_path, "model.mlmodel")
    with pytest.raises(BadModel, match=r"it has no model.mlmodel"):
        inspect_package(tmp_path)
    (tmp_path / "Data").mkdir()
    (tmp_path / "Data" / "model.mlmodel").write_bytes(b"\xff\xff\xff")
    with pytest.raises(BadModel, match=r"model.mlmodel cannot be read"):
        inspect_package(tmp_path)
    (tmp_path / "Data" / "model.mlmodel").write_bytes(b"")
    with pytest.raises(BadModel, match="holds nothing, no ML Program"):
        inspect_package(tmp_path)


def test_a_new_package_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    old, work = tmp_path / "p.mlpackage", tmp_path / "work"
    for folder, text in ((old, "old"), (work / "new", "new")):
        folder.mkdir(parents=True)
        (folder / "f").write_text(text)
    place(work / "new", old)
    assert (old / "f").read_text() == "new"


def test_what_was_there_stays_when_the_new_one_cannot_be_moved(tmp_path: Path) -> None:
    old = tmp_path / "p.mlpackage"
    old.mkdir()
    (old / "f").write_text("old")
    (tmp_path / "work").mkdir()
    with pytest.raises(OnnxoptError, match="what was there before is unchanged"):
        place(tmp_path / "work" / "missing", old)
    assert (old / "f").read_text() == "old"


def test_the_command_writes_a_package_and_its_facts(tmp_path: Path) -> None:
    path = tmp_path / "p.mlpackage"
    backend = Coreml(compute_units="cpu-and-neural-engine", author="me")
    artifact = backend.emit(ir.from_proto(GIVEN), path)
    assert artifact.facts["hash"] == digest(path)
    assert artifact.facts["compute_units"] == "cpu-and-neural-engine"
    assert "configuration.computeUnits = .cpuAndNeuralEngine" in artifact.facts["loading"]["swift"]
    assert "ComputeUnit.CPU_AND_NE" in artifact.facts["loading"]["python"]
    assert json.loads(json.dumps(artifact.facts))["interface"]["author"] == "me"
    assert Coreml.inspect(path)["metadata"]["author"] == "me"
    assert [each.name for each in tmp_path.iterdir()] == ["p.mlpackage"]


def test_nothing_is_written_of_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="Bernoulli"):
        Coreml().emit(ir.from_proto(REFUSED), tmp_path / "p.mlpackage")
    assert not list(tmp_path.iterdir())


def test_folders_that_are_no_packages_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "p.mlpackage"
    path.mkdir()
    with pytest.raises(BadOption, match="is there and is no package"):
        Coreml().require_usable(path)
