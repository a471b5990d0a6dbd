"""Masks beside the model, sparsity shown, sparse initializers written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Command

WEIGHTS = ", ".join(map(str, range(1, 65)))
MODEL = f"""<ir_version: 8, opset_import: ["": 17]> g (float[N, 8] x) => (float[N, 8] y)
  <float[8, 8] w = {{{WEIGHTS}}}, float[8] b = {{1, 1, 1, 1, 1, 1, 1, 1}}> {{
    [fc] h = MatMul (x, w)
    y = Add (h, b)
  }}"""


@pytest.fixture
def product(tmp_path: Path) -> Path:
    path = tmp_path / "product.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


def test_masks_are_saved_and_used_again(onnxopt: Command, product: Path, tmp_path: Path) -> None:
    ended = onnxopt("run", product, "-p", "prune{sparsity=0.5}", "--save-masks", "m.npz", "-o", "a.onnx")
    assert ended.code == 0 and "wrote m.npz" in ended.err
    with np.load(tmp_path / "m.npz", allow_pickle=False) as masks:
        assert set(masks) == {"w"} and masks["w"].tolist() == (np.arange(64).reshape(8, 8) >= 32).tolist()
    assert onnxopt("run", product, "-p", "prune{masks=m.npz}", "-o", "b.onnx").code == 0
    assert onnxopt("diff", "a.onnx", "b.onnx").out.strip() == "no difference"


def test_masks_fit_the_model_that_is_written(onnxopt: Command, product: Path, tmp_path: Path) -> None:
    onnxopt("run", product, "-p", "prune,quantize-weights{smallest=1}", "--save-masks", "m.npz", "-o", "a.onnx")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as masks:
        (name,) = masks
        assert masks[name].shape == (8, 8) and np.count_nonzero(~masks[name]) == 19
    stored = {tensor.name: tensor for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert not onnx.numpy_helper.to_array(stored[name]).reshape(8, 8)[:2].any()


def test_nothing_to_save(onnxopt: Command, product: Path, tmp_path: Path) -> None:
    ended = onnxopt("run", product, "-p", "fold-constants", "--save-masks", "m.npz", "-o", "out.onnx")
    assert ended.code == 2 and "--save-masks: nothing was pruned; put the pass prune into the pipeline" in ended.err
    assert not (tmp_path / "m.npz").exists() and not (tmp_path / "out.onnx").exists()


def test_a_bad_file_of_masks(onnxopt: Command, product: Path, tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(b"PK\x03\x04 no archive")
    ended = onnxopt("run", product, "-p", "prune{masks=m.npz}")
    assert ended.code == 2 and "m.npz cannot be read as a file of masks" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_inspect_shows_the_zeros_by_layer(onnxopt: Command, product: Path) -> None:
    assert "layers with zeros" not in onnxopt("inspect", product).out
    onnxopt("run", product, "-p", "prune{sparsity=0.5}", "-o", "a.onnx")
    ended = onnxopt("inspect", "a.onnx")
    assert "layers with zeros" in ended.out and "50.0%" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
    assert onnxopt("inspect", "a.onnx", "--json").json()["sparsity"] == {
        "elements": 64,
        "zeros": 32,
        "sparsity": 0.5,
        "layers": [{"layer": "fc", "operator": "MatMul", "weight": "w", "elements": 64, "zeros": 32, "sparsity": 0.5}],
    }


def test_the_sidecar_says_what_sparse_initializers_save(onnxopt: Command, product: Path, tmp_path: Path) -> None:
    ended = onnxopt("run", product, "-p", "prune{sparsity=0.95}", "--emit", "onnx{sparse=true}=s.onnx")
    assert ended.code == 0
    facts = json.loads((tmp_path / "s.onnx.json").read_text())["sparse_initializers"]
    assert facts["weights"] == 1 and facts["bytes_saved"] == facts["by_weight"]["w"] > 100
    assert len(onnx.load(tmp_path / "s.onnx").graph.sparse_initializer) == 1
