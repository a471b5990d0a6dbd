"""The noise of single tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxopt.data.metrics import snr
from onnxopt.passes.quantize import Quantize
from onnxopt.quantization.layerwise import tensor_noise
from tests.passes.checks import parse, run_pass
from tests.passes.quantize_models import model, samples
from tests.quantization.calibrated import samples_for

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
    <float[4] one = {1, 1, 1, 1}>
    { a = Mul (x, one) s = Shape (a) b = Relu (a) only = Neg (b) y = Neg (only) }"""


def test_each_tensor_that_both_models_have_is_compared() -> None:
    other = parse(TEXT.replace("only", "mine").replace("{1, 1, 1, 1}", "{1.1, 1.1, 1.1, 1.1}"))
    arrays = [np.full(4, value, np.float32) for value in (1, 2, -3)]
    found = tensor_noise(parse(TEXT), other, samples_for(parse(TEXT), arrays))
    assert [(each.tensor, each.op) for each in found] == [("a", "Mul"), ("b", "Relu"), ("y", "Neg")]
    whole = np.stack(arrays)
    assert [each.snr for each in found] == pytest.approx([snr(whole, whole * np.float32(1.1))] * 3, abs=1e-3)


def test_equal_and_broken_tensors() -> None:
    other = parse(TEXT.replace("b = Relu (a)", "b = Sqrt (a)"))
    found = tensor_noise(parse(TEXT), other, samples_for(parse(TEXT), [np.full(4, -1, np.float32)]))
    assert found[0].snr == math.inf and math.isnan(found[1].snr)


def test_a_tensor_of_another_shape_is_left_out() -> None:
    axes = "<float[4] one = {1, 1, 1, 1}, int64[2] shape = {2, 2}>"
    changed = TEXT.replace("<float[4] one = {1, 1, 1, 1}>", axes).replace(
        "b = Relu (a) only = Neg (b) y = Neg (only)", "b = Reshape (a, shape) f = Flatten (x) y = Neg (f)"
    )
    found = tensor_noise(parse(TEXT), parse(changed), samples_for(parse(TEXT), [np.ones(4, np.float32)]))
    assert [each.tensor for each in found] == ["a", "y"]


def test_dequantized_tensors_have_the_names_of_the_floats() -> None:
    weights = "float[8,8,1,1] w, float[8,8,1,1] v"
    graph = model("c = Conv (x, w) r = Relu (c) d = Conv (r, v) y = Relu (d)", weights)
    before = graph.copy()
    data = samples(graph)
    run_pass(Quantize(), graph, data=data, target="onnx")
    found = {each.tensor: each.snr for each in tensor_noise(before, graph, data)}
    assert {"r", "y"} <= found.keys() and 20 < found["y"] <= found["r"] < 70
