"""Activations stream: values as the graph computes them, for large models too, alive as long as somebody looks."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.activations import tapping
from onnxopt.activations.streaming import batches, stream
from onnxopt.quantization import extremes
from onnxopt.quantization.collecting import collect
from onnxopt.runtime.session import NotRunnable
from tests.passes.checks import parse, run
from tests.quantization.calibrated import convolution, images, requests, samples_for


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("limit", [0, 64_000_000])
def test_values_are_the_graphs(monkeypatch: pytest.MonkeyPatch, limit: int, optimize: bool) -> None:
    monkeypatch.setattr(tapping, "_IN_MEMORY", limit)
    graph, arrays = convolution(), images(5)
    model = ir.to_proto(graph)
    model.graph.output.add(name="c")
    expected = run(model, {"x": np.stack(arrays)})
    found = list(stream(graph, ["x", "c", "y"], samples_for(graph, arrays), batch=2, optimize=optimize))
    gc.collect()  # the session is gone, and so is every batch but what the arrays keep
    assert [len(batch["x"]) for batch in found] == [2, 2, 1]
    for name, value in {**expected, "x": np.stack(arrays)}.items():
        np.testing.assert_allclose(np.concatenate([batch[name] for batch in found]), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("few", [0, 10**9])
def test_ranges_of_a_large_model(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Its weights go through a file."""
    graph, arrays = convolution(), images(5)
    expected = collect(graph, requests("c"), samples_for(graph, arrays)).by_name["c"]
    monkeypatch.setattr(tapping, "_IN_MEMORY", 0)
    monkeypatch.setattr(extremes, "_FEW", few)
    found = collect(graph, requests("c"), samples_for(graph, arrays)).by_name["c"]
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), rtol=1e-5)


def test_batches_count_samples() -> None:
    graph = convolution()
    found = [(batch.first, batch.samples) for batch in batches(graph, ["y"], samples_for(graph, images(5)), batch=2)]
    assert found == [(0, 2), (2, 2), (4, 1)]


def test_a_model_that_is_fixed_to_batches() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[4, 2] x) => (float[4, 2] y) { y = Neg(x) }""")
    arrays = [np.full(2, i, np.float32) for i in range(8)]
    assert [batch.samples for batch in batches(graph, ["y"], samples_for(graph, arrays))] == [4, 4]
    assert collect(graph, requests("y"), samples_for(graph, arrays)).by_name["y"].low == -7


def test_a_model_that_does_not_run() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17, "nobody": 1]> g (float[N, 2] x) => (float[N, 2] y)
      { y = nobody.Knows(x) }""")
    with pytest.raises(NotRunnable, match="onnxruntime cannot load the model to calibrate it"):
        list(stream(graph, ["y"], samples_for(graph, [np.ones(2, np.float32)])))
