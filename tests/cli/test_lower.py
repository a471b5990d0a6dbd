"""`onnxopt lower`, and sources where other commands take a model."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
import skops.io
from sklearn import datasets, ensemble

from onnxopt import ir
from onnxopt.frontends.lowering import work
from tests.cli.conftest import Command
from tests.cli.test_bad_input import refused

ROWS, SPECIES = datasets.load_iris(return_X_y=True)


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    """A random forest as a skops file, and beside it the pickle and the rows."""
    trained = ensemble.RandomForestClassifier(5, random_state=0).fit(ROWS, SPECIES)
    skops.io.dump(trained, tmp_path / "forest.skops")
    joblib.dump(trained, tmp_path / "forest.joblib")
    np.savez(tmp_path / "rows.npz", X=ROWS.astype(np.float32), truth=SPECIES)
    return tmp_path / "forest.skops"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child, which would import scikit-learn again."""
    monkeypatch.setattr("onnxopt.frontends.lowering.run_in_child", lambda target, *given, timeout: work(*given))


def test_what_it_writes_and_says(onnxopt: Command, forest: Path) -> None:
    ended = onnxopt("lower", forest, "-o", "m.onnx", "--data", "rows.npz", "--json")
    assert ended.code == 0, ended.err
    told = ended.json()
    assert told["by"].startswith("skl2onnx ") and told["compared"] == "150 rows of rows.npz"
    assert told["inputs"] == [{"name": "X", "dtype": "float32", "shape": [None, 4]}]
    assert told["differences"]["label"] == {"absolute": 0.0, "relative": 0.0}
    assert "wrote m.onnx" in ended.err
    onnx.checker.check_model(onnx.load("m.onnx"), full_check=True)


def test_an_onnx_model_is_normalized(onnxopt: Command, model: Path) -> None:
    proto = onnx.load(model)
    proto.opset_import.append(proto.opset_import[0])
    onnx.save(proto, "twice.onnx")
    ended = onnxopt("lower", "twice.onnx", "-o", "m.onnx", "--opset", "18")
    assert ended.code == 0 and "normalize" in ended.out, ended.err
    assert [entry.version for entry in onnx.load("m.onnx").opset_import if not entry.domain] == [18]
    ended = onnxopt("lower", "twice.onnx", "-o", "m.onnx", "--exporter", "dynamo")
    refused(ended, "--exporter does nothing for an ONNX model")


@pytest.mark.usefixtures("in_this_process")
def test_every_command_takes_a_source(onnxopt: Command, forest: Path) -> None:
    ended = onnxopt("run", "forest.skops", "-O", "1", "--data", "rows.npz", "-o", "m.onnx")
    assert ended.code == 0 and "forest.skops  O1" in ended.err, ended.err
    assert "lowered forest.skops by skl2onnx" in ended.err
    assert [node.op for node in ir.load("m.onnx").nodes] == ["TreeEnsembleClassifier"]
    judged = ["--data", "rows.npz", "--metric", "top1", "--labels", "truth"]
    assert onnxopt("verify", "forest.skops", "m.onnx", *judged).code == 0
    assert onnxopt("diff", "m.onnx", "forest.skops").code == 0
    assert onnxopt("inspect", "forest.skops", "--json").json()["model"] == "forest.skops"


@pytest.mark.parametrize(
    "words",
    [["lower", "-o", "m.onnx"], ["run", "-O", "1"], ["inspect"], ["bisect", "-O", "1"], ["reduce", "-O", "1"],
     ["sensitivity", "--data", "rows.npz"], ["bench"]],
)  # fmt: skip
def test_a_pickle_is_refused_by_every_command(onnxopt: Command, forest: Path, words: list[str]) -> None:
    refused(
        onnxopt(words[0], "forest.joblib", *words[1:]),
        "forest.joblib is a pickle, as joblib writes them: to open it runs whatever code is in it; give --trust-pickle",
    )
    for two in (["forest.joblib", "m.onnx"], ["m.onnx", "forest.joblib"]):
        assert all("--trust-pickle" in onnxopt(command, *two).err for command in ("verify", "diff"))


@pytest.mark.usefixtures("in_this_process")
def test_a_pickle_that_is_trusted(onnxopt: Command, forest: Path) -> None:
    assert onnxopt("lower", "forest.joblib", "-o", "m.onnx", "--trust-pickle").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no:such"], "no:such cannot be imported: ModuleNotFoundError"),
        (["none.onnx"], "none.onnx: no such file"),
        (["m.onnx", "--exporter", "dynmo"], "--exporter dynmo: there is no such; did you mean dynamo"),
        (["m.onnx", "--dtype", "float16"], "--dtype float16: there is no such"),
        (["m.onnx", "--dynamic", "x"], "--dynamic x: give it as INPUT=AXIS:NAME"),
        (["m.onnx", "--dynamic", "x=0"], "give it as INPUT=AXIS:NAME"),
        (["m.onnx", "--dynamic", "x=0:a", "--dynamic", "x=1:b"], "x is given twice"),
        (["m.onnx", "--input", "x=float32"], "--input x=float32: give it as NAME=TYPE"),
        (["m.onnx", "--input-names", "a,,b"], "--input-names a,,b: give each one name"),
        (["model.onnx", "--opset", "99"], "--opset 99: models are brought to opset 13 to"),
    ],
)
def test_wrong_use(onnxopt: Command, model: Path, words: list[str], said: str) -> None:
    refused(onnxopt("lower", *words, "-o", "out.onnx"), said)
    assert not Path("out.onnx").exists()


def test_without_the_packages_the_extra_is_named(
    onnxopt: Command, forest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(
        onnxopt("lower", forest, "-o", "m.onnx"),
        "is a skops file of scikit-learn, and sklearn is not installed: pip install 'onnxopt[sklearn]'",
    )
