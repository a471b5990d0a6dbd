from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.api import run
from onnxopt.errors import BadModel, BadOption, BadPipeline
from onnxopt.pipeline.backend import Artifact, Backend, Emission, Problem, backend_class, backend_names
from onnxopt.pipeline.target import Target
from tests.pipeline import planted


def test_the_backends_are_the_files_of_their_package() -> None:
    assert "onnx" in backend_names()
    assert issubclass(backend_class("onnx"), Backend)


def test_a_misspelt_backend_gets_the_nearest() -> None:
    with pytest.raises(BadOption, match=r"^there is no backend 'onxn'; did you mean onnx\?$"):
        backend_class("onxn")


def test_a_target_that_cannot_be_written_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.pipeline.backend.target_class", lambda name: Target)
    with pytest.raises(BadOption, match=r"graphs are prepared for qnn .*, but it cannot be written yet"):
        backend_class("qnn")


@pytest.mark.parametrize(
    ("text", "path", "external"),
    [
        ("onnx=out.onnx", "out.onnx", None),
        ("onnx{external-data=true}=out.onnx", "out.onnx", True),
        ("onnx{ external_data=false }=a/b=c.onnx", "a/b=c.onnx", False),
        ("onnx=odd}name{.onnx", "odd}name{.onnx", None),
    ],
)
def test_an_emission_is_a_backend_its_options_and_a_path(text: str, path: str, external: bool | None) -> None:
    emission = Emission.parse(text)
    assert emission.path == Path(path)
    assert emission.backend == backend_class("onnx")(external_data=external)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("onnx", "give it as BACKEND=PATH"),
        ("onnx=", "give it as BACKEND=PATH"),
        ("=out.onnx", "give it as BACKEND=PATH"),
        ("onnx{external-data=true", "give it as BACKEND=PATH"),
        ("onnx,onnx=out.onnx", "give it as BACKEND=PATH"),
        ("onx=out.onnx", "there is no backend 'onx'; did you mean onnx"),
        ("onnx{external-dat=true}=x", "has no option 'external-dat'; did you mean external-data"),
        ("onnx{external-data=perhaps}=x", "external-data takes one of true|false, or none, not perhaps"),
    ],
)
def test_what_is_wrong_with_an_emission_is_said_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(BadOption) as caught:
        Emission.parse(text)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_options_that_are_no_options_get_a_caret() -> None:
    with pytest.raises(BadPipeline, match=r"\^"):
        Emission.parse("onnx{external-data=true,}=out")


def test_an_artifact_comes_with_a_sidecar(tmp_path: Path) -> None:
    onnx.save(planted.model(), tmp_path / "in.onnx")
    result = run(tmp_path / "in.onnx", "eliminate-dead-nodes", verify=True)
    emission = Emission.parse(f"onnx={tmp_path / 'out.onnx'}")
    result.write(None, [emission], {"pipeline": "eliminate-dead-nodes", "snr": float("inf")})
    onnx.checker.check_model(str(tmp_path / "out.onnx"))
    facts = json.loads((tmp_path / "out.onnx.json").read_text())
    assert facts["artifact"] == "out.onnx" and facts["backend"] == "onnx"
    assert facts["bytes"] == (tmp_path / "out.onnx").stat().st_size
    assert facts["input"]["sha256"] == hashlib.sha256((tmp_path / "in.onnx").read_bytes()).hexdigest()
    assert (facts["inputs"], facts["outputs"]) == (["x"], ["y", "z"])
    assert set(facts["versions"]) == {"onnxopt", "onnx", "onnxruntime"}
    assert facts["pipeline"] == "eliminate-dead-nodes" and facts["snr"] == "inf"


def test_external_data_go_beside_the_artifact(tmp_path: Path) -> None:
    graph = planted.graph()
    graph.nodes[0].inputs[1] = ir.Constant("large", np.ones((1024, 4), np.float32))
    Emission.parse(f"onnx{{external-data=true}}={tmp_path / 'out.onnx'}").write(graph, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.onnx", "out.onnx.data", "out.onnx.json"]


@dataclass(frozen=True)
class Picky(Backend):
    """Refuses Neg."""

    def check(self, graph: ir.Graph) -> list[Problem]:
        return [Problem(node.name, "Neg is not known here") for node in graph.nodes if node.op == "Neg"]

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        raise AssertionError("refused graphs are not emitted")


def test_what_a_target_refuses_is_named_node_by_node_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadModel) as caught:
        Emission(Picky(), "picky", tmp_path / "out").write(planted.graph(), {})
    assert str(caught.value).split("\n") == [
        "picky refuses 2 nodes:",
        "  third: Neg is not known here",
        "  fourth: Neg is not known here",
    ]
    assert not list(tmp_path.iterdir())
