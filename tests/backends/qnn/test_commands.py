"""`verify` and `inspect` on a DLC and a context binary, and `run` that writes them."""

import json
import shutil

import numpy as np
import onnx
import pytest

import onnxopt
from onnxopt.cli.app import main
from onnxopt.pipeline.backend import Emission
from tests.backends.qnn import models
from tests.backends.qnn.models import needs_libraries

pytestmark = needs_libraries


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line, in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def emitted(tmp_path_factory):
    """A model of an open batch, data, and what was emitted for batches of 2."""
    folder = tmp_path_factory.mktemp("emitted")
    model = models.small()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, folder / "m.onnx")
    np.savez(folder / "d.npz", x=np.concatenate([models.image(seed)["x"] for seed in range(6)]), label=np.arange(6) % 4)
    result = onnxopt.run(folder / "m.onnx", "freeze-shapes{batch=2}", data=folder / "d.npz")
    result.write(None, [Emission.parse(f"qnn{{soc=SM8450 context-binary={folder / 'm.bin'}}}={folder / 'm.dlc'}")], {})
    return folder


def test_run_tells_what_ran_and_what_that_does_not_say(emitted, run, tmp_path):
    emit = f"qnn{{soc=SM8450 samples=2}}={tmp_path / 'm.bin'}"
    passes = ["--passes", "freeze-shapes{batch=2}", "--data", emitted / "d.npz"]
    code, _, told = run("run", emitted / "m.onnx", *passes, "--emit", emit)
    assert code == 0 and f"wrote {tmp_path / 'm.bin'}" in told
    one_line = " ".join(told.split())  # wherever the terminal breaks it
    assert "m.bin on Qualcomm's HTP emulator, beside onnxruntime, SNR of " in one_line and ", on 1 batch" in one_line
    assert "nothing of how fast a phone is" in told


def test_verify_runs_the_artifact_on_the_emulator(emitted, run):
    code, out, told = run("verify", emitted / "m.onnx", emitted / "m.dlc", "--data", emitted / "d.npz", "--json")
    assert code == 0, told
    found = json.loads(out)
    assert (found["metric"], found["samples"]) == ("snr", 6) and found["model"] > 50
    assert "its arithmetic and not its speed" in told


def test_verify_takes_every_metric(emitted, run):
    of = ["verify", emitted / "m.onnx", emitted / "m.dlc", "--data", emitted / "d.npz", "--samples", 2, "--json"]
    assert json.loads(run(*of, "--metric", "cosine")[1])["model"] == pytest.approx(1, abs=1e-4)


def test_verify_fails_below_what_is_asked_for(emitted, run):
    code, _out, told = run(
        "verify", emitted / "m.onnx", emitted / "m.dlc", "--data", emitted / "d.npz", "--at-least", 150
    )
    assert code == 1 and "and at least 150.00 dB is wanted" in told


def test_verify_needs_data_for_an_artifact(emitted, run):
    code, _out, told = run("verify", emitted / "m.onnx", emitted / "m.dlc")
    assert code == 2 and "is no ONNX model, and needs samples to run on: give --data" in told


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "m.dlc.json").unlink(), "has no sidecar m.dlc.json"),
        (lambda folder: (folder / "m.dlc").write_bytes(b"other"), "is not what its sidecar was written of"),
        (lambda folder: (folder / "m.bin").write_bytes(b"other"), "is not what its sidecar was written of"),
        (lambda folder: (folder / "m.bin").unlink(), "its context binary"),
        (lambda folder: (folder / "m.dlc.json").write_text("[]"), "it holds no JSON object"),
        (lambda folder: (folder / "m.dlc.json").write_text("{}"), "no sidecar of a DLC or a context binary"),
    ],
)
def test_verify_takes_nothing_else_for_it(emitted, tmp_path, run, spoil, reason):
    shutil.copytree(emitted, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    code, _out, told = run("verify", tmp_path / "m.onnx", tmp_path / "m.dlc", "--data", tmp_path / "d.npz")
    assert code == 2 and reason in told


def test_inspect_shows_a_dlc_from_the_file_and_its_sidecar(emitted, run):
    code, out, _told = run("inspect", emitted / "m.dlc", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["file"]["parts"]["model"] > 0 and found["file"]["converter version"].startswith("2.")
    assert found["sidecar"]["operators"]["Conv2d"] == 1
    shown = run("inspect", emitted / "m.dlc")[1]
    assert "from its sidecar" in shown and "Conv2d: 1" in shown and "x  float32[2, 3, 8, 8]" in shown


def test_inspect_shows_a_dlc_without_a_sidecar(emitted, tmp_path, run):
    shutil.copy(emitted / "m.dlc", tmp_path / "m.dlc")
    assert "it has no sidecar" in run("inspect", tmp_path / "m.dlc")[1]


def test_inspect_refuses_what_is_none(tmp_path, run):
    (tmp_path / "m.dlc").write_bytes(b"x")
    code, _out, told = run("inspect", tmp_path / "m.dlc")
    assert code == 2 and "is no DLC" in told
    assert run("inspect", tmp_path / "m.dlc", "--text")[0] == 2


def test_an_input_that_nothing_reads_and_a_model_that_never_ran(run, tmp_path):
    model = models.model(
        """g (float[1, 4] x, float[1, 4] u, int64[1, 4] i) => (float[1, 4] y, int64[1, 4] j) {
            y = Relu(x)
            j = Add(i, i)
        }"""
    )
    onnx.save(model, tmp_path / "m.onnx")
    code, _, told = run(
        "run", tmp_path / "m.onnx", "-O", "1", "--emit", f"qnn{{soc=SM8450 samples=0}}={tmp_path / 'm.bin'}"
    )
    assert code == 0 and "m.bin was compiled, and never run: samples=0 was given" in told
    assert "nothing reads the inputs u" in told and "int64 in 32 bits: values of i, j" in told
    np.savez(tmp_path / "d.npz", **{name: np.ones((3, 4), np.float32) for name in "xu"}, i=np.arange(12).reshape(3, 4))
    code, out, told = run("verify", tmp_path / "m.onnx", tmp_path / "m.bin", "--data", tmp_path / "d.npz", "--json")
    assert code == 0, told
    assert json.loads(out)["samples"] == 3
