"""`--emit onnx{sparse=true}`: fewer bytes, the same model, and only where that is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxopt import ir
from onnxopt.backends.onnx import Onnx
from onnxopt.pruning.masks import Masks
from onnxopt.pruning.sparse_initializers import sparsified
from tests.passes.checks import parse, random_feeds

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 8, 6, 6] x, bool c) => (float[1, 5] y, float[a, b] z)
  <float[16, 8, 3, 3] conv, float[16, 5] product, int8[16, 40] q, float s = {0.5}, float[16, 16] inner> {
    a = Conv (x, conv)
    b = GlobalAveragePool (a)
    f = Flatten (b)
    y = MatMul (f, product)
    d = DequantizeLinear (q, s)
    e = MatMul (f, d)
    z = If (c) <then_branch = t () => (float[a, b] p) { p = MatMul (f, inner) },
                else_branch = o () => (float[a, b] r) { r = Identity (e) }>
  }"""


def model(zeros: float) -> ir.Graph:
    """With so many zeros in each weight, and a -0 in the first."""
    text, rng = MODEL, np.random.default_rng(5)
    for name, shape in (("conv", (16, 8, 3, 3)), ("product", (16, 5)), ("q", (16, 40)), ("inner", (16, 16))):
        values = rng.integers(1, 100, shape) * (rng.random(shape) >= zeros)
        text = text.replace(f"] {name}", f"] {name} = {{{', '.join(map(str, values.ravel()))}}}")
    graph = parse(text)
    first = np.array(graph.nodes[0].inputs[1].read())
    first[0, 0, 0, 0] = -0.0
    graph.nodes[0].inputs[1].values = first
    return graph


def outputs(path: Path, level: ort.GraphOptimizationLevel) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = random_feeds(onnx.load(path))
    return [value for chosen in (True, False) for value in session.run(None, {**feeds, "c": np.array(chosen)})]


def emitted(graph: ir.Graph, path: Path, **options: Any) -> dict[str, Any]:
    backend = Onnx(**options)
    assert backend.check(graph) == []
    return backend.emit(graph, path).facts


def test_smaller_and_the_same(tmp_path: Path) -> None:
    graph = model(0.95)
    dense, sparse = tmp_path / "dense.onnx", tmp_path / "sparse.onnx"
    text = ir.to_text(graph)
    assert "sparse_initializers" not in emitted(graph, dense)
    told = emitted(graph, sparse, sparse=True)["sparse_initializers"]
    assert ir.to_text(graph) == text, "the graph itself is left as it is"
    assert set(told["by_weight"]) == {"conv", "product", "q", "inner"} and told["weights"] == 4
    saved = dense.stat().st_size - sparse.stat().st_size
    assert told["bytes_saved"] == sum(told["by_weight"].values()) and abs(saved - told["bytes_saved"]) < 16 < saved
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
        for one, other in zip(outputs(dense, level), outputs(sparse, level), strict=True):
            np.testing.assert_array_equal(one, other)
    onnx.checker.check_model(sparse)


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    graph = model(0.95)
    emitted(graph, tmp_path / "m.onnx", sparse=True)
    found = ir.load(tmp_path / "m.onnx")
    before = {t.name: t.read() for n in ir.every_node(graph) for t in n.inputs if isinstance(t, ir.Constant)}
    after = {t.name: t.read() for n in ir.every_node(found) for t in n.inputs if isinstance(t, ir.Constant)}
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert values.tobytes() == after[name].tobytes() and values.dtype == after[name].dtype, name
    masks = [{mask.weight: mask.zeros for mask in Masks.of(each)} for each in (graph, found)]
    assert masks[0] == masks[1]


@pytest.mark.parametrize(("zeros", "sparse"), [(0.6, set()), (0.8, {"conv", "inner", "product"})])
def test_only_where_it_is_smaller(zeros: float, sparse: set[str]) -> None:
    """float32 from two thirds of zeros on, with enough elements; int8 from eight ninths."""
    assert set(sparsified(model(zeros))[1]) == sparse


def test_nothing_but_zeros(tmp_path: Path) -> None:
    graph = model(1.0)
    emitted(graph, tmp_path / "m.onnx", sparse=True)
    assert all(not value.any() for value in outputs(tmp_path / "m.onnx", ort.GraphOptimizationLevel.ORT_ENABLE_ALL))


def test_external_data_are_dense_only_where_dense_is_smaller(tmp_path: Path) -> None:
    graph = model(0.95)
    emitted(graph, tmp_path / "m.onnx", sparse=True, external_data=True)
    for one, other in zip(
        outputs(tmp_path / "m.onnx", ort.GraphOptimizationLevel.ORT_DISABLE_ALL),
        outputs_of(graph, tmp_path),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def outputs_of(graph: ir.Graph, folder: Path) -> list[np.ndarray]:
    ir.save(graph, folder / "dense.onnx")
    return outputs(folder / "dense.onnx", ort.GraphOptimizationLevel.ORT_DISABLE_ALL)


def test_an_old_model_cannot_have_them() -> None:
    graph = parse("""<ir_version: 5, opset_import: ["": 10]> g (float[2] x) => (float[2] y) { y = Relu (x) }""")
    (problem,) = Onnx(sparse=True).check(graph)
    assert problem.reason.startswith("sparse initializers need IR version 6, and it has 5")
    assert Onnx().check(graph) == []
