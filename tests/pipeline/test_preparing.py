"""The passes that a target asks for when the pipeline is through."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from onnx import parser

from onnxopt import ir
from onnxopt.api import run
from onnxopt.data import inputs_of, open_data
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Artifact, Backend, Emission, Preparation, Problem
from onnxopt.pipeline.sidecar import read_sidecar

MODEL = parser.parse_model(
    """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 2] y)
       <float[4, 2] w = {1.1, 2.3, 3.7, 4.9, 5.1, 6.3, 7.7, 8.9}> { y = MatMul(x, w) }"""
)


@dataclass(frozen=True)
class Halves(Backend):
    """Wants float16, or what it is told."""

    pipeline: str = "convert-float16"
    unverifiable: str = ""
    given: ClassVar[list[ir.Graph]] = []

    def preparation(self, graph: ir.Graph) -> Preparation:
        return Preparation(self.pipeline, self.unverifiable)

    def check(self, graph: ir.Graph) -> list[Problem]:
        return []

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        self.given.append(graph)
        path.write_text("")
        return Artifact(path)


def emitted(
    backend: Halves, folder: Path, accuracy: object = None, **options: object
) -> tuple[dict[str, object], Artifact]:
    result = run(MODEL, "eliminate-identities", **options)  # type: ignore[arg-type]
    (artifact,) = result.write(
        None,
        [Emission(backend, "tensorrt{}", folder / "m")],
        {"pipeline": "eliminate-identities", "verified": 1, "accuracy": accuracy},
    )
    assert all(node.op != "Cast" for node in result.graph.nodes), "the graph of the run stays as it is"
    facts = read_sidecar(folder / "m")
    assert facts is not None
    return facts, artifact


def test_they_run_on_a_copy_and_stand_at_the_end_of_the_pipeline(tmp_path):
    facts, artifact = emitted(Halves(), tmp_path)
    assert facts["pipeline"] == "eliminate-identities,convert-float16"
    assert facts["prepared"] == {
        "pipeline": "convert-float16", "verified": None, "of_the_graph_before": ["verified"],
    }  # fmt: skip
    assert artifact.notes == ("m: convert-float16 ran for it",)
    assert [node.op for node in Halves.given[-1].nodes] == ["Cast", "MatMul", "Cast"]


def test_where_the_run_is_verified_they_are_too(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    data = open_data(tmp_path / "d.npz", inputs_of(MODEL))
    facts, artifact = emitted(Halves(), tmp_path, data=data)
    assert facts["prepared"]["verified"]["on"] == "6 batches of d.npz"  # type: ignore[index]
    assert 50 < facts["prepared"]["verified"]["worst"]["snr"] < 100  # type: ignore[index]
    assert "SNR of y" in artifact.notes[0]
    _, artifact = emitted(Halves(unverifiable="nobody computes so"), tmp_path, data=data)
    assert artifact.notes == ("m: convert-float16 ran for it, and is not compared: nobody computes so",)


def test_they_have_the_data_of_the_run_and_the_target_of_the_emission(tmp_path):
    with pytest.raises(BadOption, match="quantize needs calibration data: give --data"):
        emitted(Halves("quantize"), tmp_path)
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    emitted(Halves("quantize"), tmp_path, data=open_data(tmp_path / "d.npz", inputs_of(MODEL)))
    assert not (tmp_path / "m").read_text()


def test_a_graph_that_needs_none_is_handed_on_as_it_is(tmp_path):
    facts, artifact = emitted(Halves(""), tmp_path)
    assert "prepared" not in facts and facts["pipeline"] == "eliminate-identities" and not artifact.notes


def test_an_accuracy_that_was_measured_before_is_told_to_be_that(tmp_path):
    facts, artifact = emitted(Halves(), tmp_path, accuracy={"top1": 0.9})
    assert facts["prepared"]["of_the_graph_before"] == ["verified", "accuracy"]  # type: ignore[index]
    assert "the accuracy is that of the graph before" in artifact.notes[1]
