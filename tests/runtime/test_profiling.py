"""Which nodes of a model the kernels of onnxruntime stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxopt.runtime.profiling import Profile, profile
from onnxopt.runtime.session import NotRunnable

FUSED = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y) {
    [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w)
    [norm] n = BatchNormalization (c, s, b, b, s)
    [relu] r = Relu (n)
    [back] d = Conv <pads = [1, 1, 1, 1]> (r, w)
    [plus] a = Add (d, r)
    [last] y = Tanh (a) }"""


@pytest.fixture
def fused(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(FUSED)
    random = np.random.default_rng(0)
    for name, shape in (("w", (8, 8, 3, 3)), ("s", (8,)), ("b", (8,))):
        values = random.uniform(0.1, 0.2, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "fused.onnx")
    return tmp_path / "fused.onnx"


def origins(found: Profile) -> set[tuple[str, ...]]:
    return {kernel.stands_for for kernel in found.kernels if kernel.stands_for}


def feeds() -> list[dict[str, np.ndarray]]:
    return [{"x": np.ones((1, 8, 16, 16), np.float32)}] * 2


def test_every_node_is_its_own_kernel_without_optimizations(fused: Path) -> None:
    found = profile(fused, feeds(), optimize=False)
    assert origins(found) == {("conv",), ("norm",), ("relu",), ("back",), ("plus",), ("last",)}
    assert {kernel.calls for kernel in found.kernels} == {1.0}
    assert 0 < found.inside <= found.run * 1.2  # medians of each, on a machine that may do other things
    assert [kernel.seconds for kernel in found.kernels] == sorted((k.seconds for k in found.kernels), reverse=True)


def test_a_fused_kernel_stands_for_all_that_it_computes(fused: Path) -> None:
    found = profile(fused, feeds())
    assert {name for names in origins(found) for name in names} == {"conv", "norm", "relu", "back", "plus", "last"}
    first = next(kernel for kernel in found.kernels if "conv" in kernel.stands_for)
    assert first.op in ("Conv", "FusedConv") and first.stands_for == ("conv", "norm", "relu")
    second = next(kernel for kernel in found.kernels if "back" in kernel.stands_for)
    assert set(second.stands_for) <= {"back", "plus", "last"}  # onnxruntime decides, by the processor's vectors
    assert not any(kernel.stands_for for kernel in found.kernels if kernel.op.startswith("Reorder"))


def test_a_loop_body_counts_all_its_turns(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[4] x, int64 n) => (float[4] y)
      <bool t = {1}> { [loop] y = Loop (n, t, x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w)
        { d = Identity (c) [inside] w = Tanh (v) }> }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "loop.onnx")
    found = profile(tmp_path / "loop.onnx", [{"x": np.ones(4, np.float32), "n": np.array(3)}])
    inside = next(kernel for kernel in found.kernels if kernel.op == "Tanh")
    assert (inside.calls, inside.stands_for) == (3.0, ("inside",))


def test_inputs_that_do_not_suit(fused: Path) -> None:
    with pytest.raises(NotRunnable, match=r"fused\.onnx: onnxruntime cannot profile it"):
        profile(fused, [{"x": np.ones((2, 2), np.float32)}])
