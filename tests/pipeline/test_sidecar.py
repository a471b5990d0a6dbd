"""The JSON beside an artifact, and which backend an artifact is of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onnxopt import ir
from onnxopt.errors import BadModel, BadOption
from onnxopt.pipeline.backend import Artifact, Backend, Emission, Problem, backend_class, backend_of
from onnxopt.pipeline.sidecar import artifact_bytes, read_sidecar, write_sidecar
from tests.pipeline import planted


@dataclass(frozen=True)
class Kit(Backend):
    """Writes a folder, and takes no samples."""

    def check(self, graph: ir.Graph) -> list[Problem]:
        return []

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        path.mkdir()
        (path / "a").write_bytes(b"12345")
        (path / "sub").mkdir()
        (path / "sub" / "b").write_bytes(b"678")
        return Artifact(path, {"versions": {"SDK": "2.51"}, "told": "so"}, ("one line",))


def test_an_artifact_may_be_a_folder_and_its_sidecar_is_beside_it(tmp_path: Path) -> None:
    artifact = Emission(Kit(), "kit", tmp_path / "out").write(planted.graph(), {"told": "by the run"})
    assert artifact.notes == ("one line",) and artifact_bytes(tmp_path / "out") == 8
    facts = read_sidecar(tmp_path / "out")
    assert facts is not None and facts["bytes"] == 8 and facts["told"] == "so"
    assert set(facts["versions"]) == {"onnxopt", "onnx", "onnxruntime", "SDK"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json"]


def test_a_sidecar_is_read_as_it_was_written(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"soc": {"id": 36}, "snr": 37.5}
    write_sidecar(tmp_path / "m.dlc", facts)
    assert read_sidecar(tmp_path / "m.dlc") == facts
    assert read_sidecar(tmp_path / "other.dlc") is None and read_sidecar(Path()) is None


@pytest.mark.parametrize("text", ["{", "[]", "1", "\ufffe"])
def test_what_is_no_sidecar_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.dlc.json").write_text(text)
    with pytest.raises(BadModel, match=r"m\.dlc\.json "):
        read_sidecar(tmp_path / "m.dlc")


def test_the_sidecar_says_whose_an_artifact_is_and_the_suffix_where_there_is_none(tmp_path: Path) -> None:
    qnn = backend_class("qnn")
    assert backend_of(tmp_path / "m.dlc") is qnn and backend_of(tmp_path / "m.bin") is qnn
    assert backend_of(tmp_path / "m.onnx") is None and backend_of(Path()) is None
    for written, found in (("qnn{soc=SM8450}", qnn), ("onnx", None), ("somebody else's", None)):
        (tmp_path / "odd.name.json").write_text(json.dumps({"backend": written}))
        assert backend_of(tmp_path / "odd.name") is found


def test_a_backend_without_an_engine_here_says_so(tmp_path: Path) -> None:
    nothing: Any = None
    assert not Kit.opens() and backend_class("qnn").opens()
    with pytest.raises(BadOption, match="the engine of kit does not run here"):
        Kit.evaluate(tmp_path, tmp_path, nothing, nothing, nothing)
    with pytest.raises(BadOption, match="cannot be looked into"):
        Kit.inspect(tmp_path)
