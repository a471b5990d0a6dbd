"""The kit from the command line, and into it again."""

import json

import numpy as np
import onnx
import pytest

from onnxopt.cli.app import main
from tests.backends.qnn_kit import kits


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line, in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def model(tmp_path):
    onnx.save(kits.image(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.stack([each["x"] for each in kits.images(4)]))
    return tmp_path / "m.onnx"


def test_a_kit_is_written_twice_and_read(model, run, tmp_path):
    kit = tmp_path / "kit"
    for _ in range(2):
        code, _, told = run("run", model, "--passes", "O1", "--data", tmp_path / "d.npz", "--emit", f"qnn-kit={kit}")
        assert code == 0, told
        assert f"wrote {kit}" in told and "nothing of it ran with Qualcomm's SDK" in told
    facts = json.loads((tmp_path / "kit.json").read_text())
    assert (facts["artifact"], facts["backend"], facts["samples"]) == ("kit", "qnn-kit", 4)
    assert facts["raw_inputs"] == {"x": {"input": "x", "shape": [1, 3, 4, 5], "stored": "float32"}}
    for data in (kit, kit / "input_list.txt"):
        code, out, told = run("verify", model, kit / "model.onnx", "--data", data, "--json")
        assert code == 0, told
        assert json.loads(out)


@pytest.mark.parametrize(
    ("emit", "error"),
    [
        ("qnn-kit={}", "qnn-kit needs samples, to calibrate on and to run: give --data"),
        ("qnn-kit{{chip=845}}={}", "has no option 'chip'"),
        ("qnn-kit{{flow=qnn}}={}", "flow"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(model, run, tmp_path, emit, error):
    code, out, told = run("run", model, "--passes", "O1", "--emit", emit.format(tmp_path / "kit"))
    assert (code, out) == (2, "") and error in told and "Traceback" not in told
    assert not (tmp_path / "kit").exists()


def test_a_calibrated_model_hands_its_ranges_on_in_one_run(model, run, tmp_path):
    ranges = tmp_path / "r.json"
    given = ("--passes", "calibrate{method=minmax}", "--data", tmp_path / "d.npz", "--save-ranges", ranges)
    code, _, told = run("run", model, *given, "--emit", f'qnn-kit{{ranges="{ranges}"}}={tmp_path / "kit"}')
    assert code == 0, told
    assert "x" in json.loads((tmp_path / "kit/encodings.json").read_text())["activation_encodings"]
