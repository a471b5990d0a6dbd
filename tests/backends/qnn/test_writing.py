"""DLCs and context binaries: whole, and compared with onnxruntime on the emulator, or not there."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.backends.qnn import Qnn, htp
from onnxopt.backends.qnn.dlc import inspect_dlc
from onnxopt.data import inputs_of, open_data
from onnxopt.errors import BadModel, CheckFailed, OnnxoptError
from onnxopt.pipeline.backend import Emission, Refused
from tests.backends.qnn import models
from tests.backends.qnn.models import needs_libraries


def emit(model: onnx.ModelProto, path: Path, options: str = "", data: str | Path | None = None) -> dict:
    """The sidecar of what was written."""
    samples = None if data is None else open_data(data, inputs_of(model))
    emission = Emission.parse(f"qnn{{soc=SM8450 {options}}}={path}")
    emission.write(ir.from_proto(model), {"pipeline": "none"}, samples)
    return json.loads(path.with_name(path.name + ".json").read_text())


@pytest.fixture
def old(tmp_path):
    """What was there before."""
    (tmp_path / "m.dlc").write_bytes(b"old")
    yield tmp_path / "m.dlc"
    assert (tmp_path / "m.dlc").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.dlc"]


@needs_libraries
def test_a_dlc_with_a_context_binary_and_a_sidecar(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.concatenate([models.image(seed)["x"] for seed in range(9)]))
    binary = tmp_path / "m.bin"
    facts = emit(models.small(), tmp_path / "m.dlc", f"samples=3 context-binary={binary}", tmp_path / "d.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npz", "m.bin", "m.dlc", "m.dlc.json"]
    assert zipfile.is_zipfile(tmp_path / "m.dlc") and "model" in inspect_dlc(tmp_path / "m.dlc")["parts"]
    assert facts["soc"]["id"] == 36 and facts["bytes"] == (tmp_path / "m.dlc").stat().st_size
    assert set(facts["versions"]) == {"onnxopt", "onnx", "onnxruntime", "onnxruntime-qnn", "QAIRT"}
    assert facts["graph_inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 3, 8, 8]}]
    assert {each["name"] for each in facts["graph_outputs"]} == {"y", "z"}
    assert facts["operators"]["Conv2d"] == 1 and facts["pipeline"] == "none"
    assert (facts["context_binary"]["file"], facts["context_binary"]["bytes"]) == ("m.bin", binary.stat().st_size)
    assert facts["emulator"]["samples"] == 3 and facts["emulator"]["data"] == f"3 batches of {tmp_path / 'd.npz'}"
    assert all(found["snr"] > 50 for found in facts["emulator"]["outputs"].values())  # fp16
    assert any("latency" in text for text in facts["not_verified_on_target"])


@needs_libraries
def test_a_context_binary_by_itself_on_generated_inputs(tmp_path):
    facts = emit(models.small(), tmp_path / "m.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.bin.json"]
    assert facts["emulator"]["data"] == "2 sets of generated inputs" and "dlc" not in facts
    assert facts["context_binary"]["sha256"] == facts["sha256"]


@needs_libraries
def test_symmetric_activations_compile_and_are_caught(old):
    """The hazard: Qualcomm's libraries say nothing of it, and onnxruntime computes it rightly."""
    with pytest.raises(CheckFailed, match=r"has an SNR of .* dB.*The activation '\w+' is int8: .*symmetrically"):
        emit(models.symmetric(), old)


@needs_libraries
def test_an_operator_that_is_computed_otherwise_is_caught(old):
    with pytest.raises(CheckFailed, match="HTP computes an operator otherwise: run legalize-qnn before"):
        emit(models.model(models.WRONG), old)


@needs_libraries
def test_the_threshold_is_the_users(old):
    with pytest.raises(CheckFailed, match="min-snr is 150; nothing was written"):
        emit(models.small(), old, "min-snr=150")


@needs_libraries
def test_all_that_is_refused_is_told_at_once_and_nothing_is_written(old):
    with pytest.raises(BadModel) as caught:
        emit(models.model(models.REFUSED), old)
    assert str(caught.value).split("\n") == [
        "qnn{soc=SM8450 } refuses 2 nodes:",
        "  Acos 'first': Operators of type `Acos` are not supported by QNN (legalize-qnn)",
        "  Celu 'Celu_3': Operators of type `Celu` are not supported by QNN (legalize-qnn)",
    ]


@needs_libraries
def test_what_is_refused_is_taken_once_it_is_legalized(tmp_path):
    found = ir.from_proto(models.model(models.REFUSED))
    result = onnxopt.run(found, "legalize-qnn", target="qnn", verify=True)
    result.write(None, [Emission.parse(f"qnn{{soc=SM8450}}={tmp_path / 'm.dlc'}")], {})
    assert (tmp_path / "m.dlc").exists()


@needs_libraries
def test_a_crash_is_an_error_and_nothing_is_written(old):
    with pytest.raises(OnnxoptError, match="ended with SIGSEGV while validating; nothing was written") as caught:
        emit(models.model(models.CRASHES_IN_VALIDATION), old, "samples=0")
    assert caught.value.exit_code == 2


@needs_libraries
def test_the_time_limit_is_an_error_and_nothing_is_written(old, monkeypatch):
    monkeypatch.setattr(htp, "_CHILD", "tests.backends.qnn.child_work")
    monkeypatch.setattr(htp, "_BUILD", "hang")
    with pytest.raises(
        OnnxoptError, match="took more than 2 s and were stopped while compiling; nothing was written: give"
    ):
        emit(models.small(), old, "timeout=2")


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }", "input 'x'", "freeze-shapes{N=SIZE}"),
        ("g (float[?, 4] x) => (float[?, 4] y) { y = Relu(x) }", "input 'x'", 'freeze-shapes{dims="x[0]":SIZE}'),
        ("g (float[4] x) => (float[4] y, float[4] x) { y = Relu(x) }", "output 'x'", "is an input: "),
    ],
)
def test_what_is_hopeless_is_refused_without_asking(text, where, reason):
    (problem,) = Qnn("SM8450").check(models.graph(text))
    assert problem.node == where and reason in problem.reason


@needs_libraries
def test_an_output_that_they_leave_out_is_refused():
    text = "g (float[4] x) => (float[4] y, float[1] c) { y = Relu(x) c = Constant<value_floats = [1.0]>() }"
    (problem,) = Qnn("SM8450").check(models.graph(text))
    assert problem.node == "output 'c'" and "HTP's graph is without it" in problem.reason


@needs_libraries
def test_a_chip_of_integers_gets_no_float_graph():
    """The emulator computes it, in float32; the chip does not."""
    (problem,) = Qnn("SM8350").check(ir.from_proto(models.small()))
    assert "Hexagon V68 of SM8350 in integers only" in problem.reason


@needs_libraries
def test_a_model_that_it_takes_has_no_problems():
    assert Qnn("SM8450").check(ir.from_proto(models.small())) == []


@needs_libraries
def test_python_gets_the_same_errors(tmp_path):
    with pytest.raises(Refused):
        Qnn("SM8450").emit(models.graph(models.REFUSED), tmp_path / "m.dlc")


@needs_libraries
def test_what_only_the_compiler_refuses_is_an_error_with_its_last_words(old, monkeypatch):
    monkeypatch.setattr(htp, "_CHILD", "tests.backends.qnn.child_work")
    monkeypatch.setattr(htp, "_BUILD", "fail_to_finalize")
    with pytest.raises(OnnxoptError) as caught:
        emit(models.small(), old)
    assert str(caught.value) == (
        f"{old}: Qualcomm's libraries failed while compiling: Failed to finalize QNN graph (Failed to finalize: 1002); "
        "nothing was written"
    )
