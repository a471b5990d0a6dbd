"""Packages that are evaluated before they leave, and `verify` on them."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="packages are written and evaluated with coremltools")

import onnxopt
from onnxopt import ir
from onnxopt.backends.coreml import Coreml
from onnxopt.cli.app import main
from onnxopt.data import ValueSpec
from onnxopt.errors import CheckFailed
from onnxopt.pipeline.backend import Emission
from tests.backends.coreml.packages import model

RNG = np.random.default_rng(8)


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line, in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def small():
    """A convolution of an open batch; its output has a name that Core ML does not take."""
    weight = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y/1"])]
    return model(nodes, {"x": ["batch", 3, 6, 6]}, {"y/1": ["batch", 4, 4, 4]}, w=weight)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory):
    """That model, data, and a package of it for batches of 2."""
    folder = tmp_path_factory.mktemp("emitted")
    onnx.save(small(), folder / "m.onnx")
    np.savez(folder / "d.npz", x=RNG.normal(size=(6, 3, 6, 6)).astype(np.float32))
    result = onnxopt.run(folder / "m.onnx", "freeze-shapes{batch=2}", data=folder / "d.npz")
    result.write(None, [Emission.parse(f"coreml={folder / 'm.mlpackage'}")], {})
    return folder


def test_the_sidecar_says_what_was_verified_and_what_was_not(emitted):
    facts = json.loads((emitted / "m.mlpackage.json").read_text())
    verified = facts["verified_against_mil_semantics"]
    assert verified["outputs"]["y/1"]["snr"] > 50
    assert "d.npz" in verified["data"]
    assert "on a device" in facts["not_verified_on_device"][0]


def test_verify_evaluates_the_package(emitted, run):
    of = ["verify", emitted / "m.onnx", emitted / "m.mlpackage", "--data", emitted / "d.npz", "--json"]
    code, out, told = run(*of)
    assert code == 0, told
    found = json.loads(out)
    assert (found["metric"], found["samples"]) == ("snr", 6) and found["model"] > 50
    assert "by MIL's semantics" in told and "on no device" in told


def test_verify_fails_below_what_is_asked_for(emitted, run):
    of = ["verify", emitted / "m.onnx", emitted / "m.mlpackage", "--data", emitted / "d.npz"]
    code, _out, told = run(*of, "--at-least", 150)
    assert code == 1 and "and at least 150.00 dB is wanted" in told


def test_verify_of_another_model_is_an_error(emitted, run, tmp_path):
    other = model([helper.make_node("Relu", ["z"], ["y"])], {"z": [1, 3]}, {"y": [1, 3]})
    onnx.save(other, tmp_path / "o.onnx")
    np.savez(tmp_path / "o.npz", z=np.ones((2, 3), np.float32))
    code, _out, told = run("verify", tmp_path / "o.onnx", emitted / "m.mlpackage", "--data", tmp_path / "o.npz")
    assert code == 2 and "takes 'x', which the ONNX model has not" in told


def overflowing():
    """Beyond 65504 on the way, and back."""
    nodes = [
        helper.make_node("Mul", ["x", "big"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "small"], ["y"]),
    ]
    constants = {"big": np.full(1, 1e6, np.float32), "small": np.full(1, 1e-6, np.float32)}
    return ir.from_proto(model(nodes, {"x": [4]}, {"y": [4]}, **constants))


def test_what_overflows_in_float16_does_not_leave(tmp_path):
    with pytest.raises(CheckFailed, match=r"output 'y' holds NaN or infinity .*; nothing was written"):
        Coreml().write(overflowing(), tmp_path / "m.mlpackage")
    assert not list(tmp_path.iterdir())


def test_nothing_is_verified_where_nothing_is_asked_for(tmp_path):
    artifact = Coreml(samples=0).write(overflowing(), tmp_path / "m.mlpackage")
    assert artifact.facts["verified_against_mil_semantics"] is None
    assert "never evaluated" in artifact.notes[-1]


def test_images_and_labels_are_said_in_the_words_of_onnx():
    from onnxopt.backends.coreml.translating import Translation

    picture = {"color": "RGB", "scale": [0.5], "bias": [-1.0]}
    said = Translation.of_sidecar({"names": {"x/0": "x_0"}, "interface": {"images": {"x/0": picture}}})
    fed = said.to_package({"x/0": np.float32([[[[1.0]]]]), "more": np.float32(1)}, {"x_0": 4})
    assert list(fed) == ["x_0"] and fed["x_0"].item() == 4.0
    outputs = {"label": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}}
    found = said.from_package(outputs, [ValueSpec("y", dtype=np.dtype(np.float32), shape=(1, 2))])
    assert found["y"].tolist() == [[0.75, 0.25]]


def test_integers_that_do_not_fit_are_not_wrapped_round():
    from onnxopt.backends.coreml.translating import Translation

    spec = ValueSpec("y", dtype=np.dtype(np.int8), shape=(2,))
    assert Translation().from_package({"y": np.int32([1, 2])}, [spec])["y"].dtype == np.int8
    assert Translation().from_package({"y": np.int32([1, 200])}, [spec])["y"].tolist() == [1, 200]
