"""What `prune` made zero is zero after every other pass, for every target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.pruning.masks import Masks
from onnxopt.pruning.zeros import StoredWeight, stored_weights
from tests.passes.accuracy_models import filled

MODEL = """<ir_version: 10, opset_import: ["": 21]> g (float[N, 4, 8, 8] x, float[N, 5, 6] s)
    => (float[N, 6] y, float[N, 5, 6] t, float[5, 1, N, 8] h) <
  float[16, 4, 3, 3] w1, float[16] b1, float[16] g1, float[16] m1, float[16] v1,
  float[16, 1, 3, 3] w2, float[16] b2, float[16] g2, float[16] m2, float[16] v2,
  float[16, 16, 1, 1] w3, float[16] b3, float[1, 16, 1, 1] c3, float[16, 1, 1, 1] w4, float[16, 12, 2, 2] w5,
  float[20, 12] w6, float[20] b6, float[20, 6] w7, float[6] b7, float[6] scale, float[6] shift, float[6, 6] wq,
  float[1, 32, 6] w, float[1, 32, 8] r> {
    [conv] a1 = Conv <pads = [1, 1, 1, 1]> (x, w1)
    a2 = BatchNormalization (a1, g1, b1, m1, v1)
    a3 = Relu (a2)
    [depthwise] a4 = Conv <group = 16, pads = [1, 1, 1, 1]> (a3, w2, b2)
    a5 = BatchNormalization (a4, g2, b2, m2, v2)
    [pointwise] a6 = Conv (a5, w3, b3)
    a7 = Mul (a6, c3)
    [scaling] a8 = Conv <group = 16> (a7, w4)
    [transposed] a9 = ConvTranspose <strides = [2, 2]> (a8, w5)
    b = GlobalAveragePool (a9)
    c = Flatten (b)
    [gemm] d = Gemm <transB = 1> (c, w6, b6)
    e = Relu (d)
    [matmul] f = MatMul (e, w7)
    y = Add (f, b7)
    n = LayerNormalization (s, scale, shift)
    [tokens] t = MatMul (n, wq)
    u = Transpose <perm = [1, 0, 2]> (s)
    [lstm] h = LSTM <hidden_size = 8> (u, w, r)
  }"""
"""A convolution with a batch normalization, a depthwise one before a pointwise one, products, and recurrence."""

PASSES = [
    "fold-constants",
    "fuse-conv-bn",
    "merge-arithmetic",
    "fuse-conv-bn,fuse-depthwise",
    "fuse-conv-bn,fuse-depthwise{merge=always}",
    "fuse-conv-bn,equalize",
    "smooth",
    "round-weights",
    "round-weights{weight-method=mse}",
    "convert-float16",
    "quantize",
    "quantize{weight-method=mse}",
    "quantize{per-channel=false}",
    "quantize,correct-bias",
    "quantize-weights{smallest=16}",
    "quantize-weights{type=int4 smallest=16}",
    "quantize-weights{block=16 smallest=16}",
    "quantize-weights{type=palette smallest=16}",
    "quantize-weights{type=palette bits=2 smallest=16}",
    "pad-channels{multiple=12}",
    "share-initializers",
    "convert-opset{opset=23}",
    "O3",
    "O3,equalize,round-weights,quantize,correct-bias",
    "O3,convert-float16",
]
TARGETS = ["onnx", "qnn", "tensorrt", "coreml"]
FOR_ONNX = [
    "quantize{weights=uint8}",
    "quantize{weights=int4}",
    "prune{sparsity=0.6},reconstruct",
    "prune{sparsity=0.6 method=wanda}",
    "prune{sparsity=0.6 method=second-order}",
    "quantize-dynamic{smallest=16}",
    "O3,quantize-dynamic{smallest=16}",
]


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tuple[ir.Graph, Path]:
    """The model with half of each weight zero, and its data."""
    rng = np.random.default_rng(7)
    graph = filled(MODEL)
    for node in graph.nodes:
        if node.is_op("BatchNormalization"):
            node.inputs[4].values = np.abs(node.inputs[4].read()) + np.float32(0.5)
    data = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(
        data,
        x=rng.normal(size=(16, 4, 8, 8)).astype(np.float32),
        s=rng.normal(size=(16, 5, 6)).astype(np.float32),
    )
    return onnxopt.run(graph, "prune{sparsity=0.5}").graph, data


def descendants(graph: ir.Graph, layer: str, weight: str) -> list[StoredWeight]:
    """What became of a weight: by its name or its layer's, which names of what passes make begin with."""
    return [
        each
        for each in stored_weights(graph)
        if each.name == weight or each.name.startswith((f"{weight}_", f"{layer}_")) or each.node.name == layer
    ]


def assert_zeros_stay(before: ir.Graph, after: ir.Graph, merged: tuple[str, ...] = ()) -> None:
    for mask in Masks.of(before):
        found = descendants(after, mask.layer, mask.weight)
        fitting = [each.zeros() for each in found]
        same = [zeros for zeros in fitting if zeros.shape == mask.keep.shape]
        turned = [np.swapaxes(zeros, -1, -2) for zeros in fitting if zeros.ndim > 1]
        candidates = [zeros for zeros in (*same, *turned) if zeros.shape == mask.keep.shape]
        if mask.layer in merged and not candidates:
            continue
        assert candidates, f"nothing became of {mask.weight}"
        assert any(zeros[~mask.keep].all() for zeros in candidates), mask.weight


MERGED = ("scaling", "pointwise", "depthwise")
"""Layers that may be merged with another: then no weight of the same shape is left."""
NOTHING_TO_DO = ("fold-constants", "share-initializers", "merge-arithmetic", "pad-channels{multiple=12}")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("passes", PASSES)
def test_a_zero_is_still_zero(pruned: tuple[ir.Graph, Path], passes: str, target: str) -> None:
    graph, data = pruned
    result = onnxopt.run(graph, passes, data=data, target=target, verify=False)
    assert result.context.rewrites or passes in NOTHING_TO_DO
    merged = MERGED if "O3" in passes or "fuse" in passes else ()
    padded = ("conv", "depthwise", "pointwise") if "pad" in passes else ()
    assert_zeros_stay(graph, result.graph, (*merged, *padded))


@pytest.mark.parametrize("passes", FOR_ONNX)
def test_a_zero_is_still_zero_for_onnxruntime(pruned: tuple[ir.Graph, Path], passes: str) -> None:
    graph, data = pruned
    result = onnxopt.run(graph, passes, data=data, target="onnx", verify=False)
    assert result.context.rewrites
    assert_zeros_stay(graph, result.graph, MERGED if "O3" in passes else ())
