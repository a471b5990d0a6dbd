"""`quantize`: what weights and biases become, and how far outputs move."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.weights import bias_scale, fit_for_bias, quantize_bias, weight_encoding
from onnxopt.runtime.session import Session
from tests.passes.checks import random_feeds
from tests.passes.quantize_models import model, node_of, parameters, quantize, samples

FIXTURES = Path(__file__).parents[2] / "fixtures"
CONV = "float[8,8,1,1] w, float[8] b"
INT8 = Integer("int8", symmetric=True)


def snr(expected: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


def integers(node: ir.Node, index: int) -> np.ndarray:
    """The integers behind an input."""
    constant = node.inputs[index].producer.inputs[0]
    assert isinstance(constant, ir.Constant)
    return constant.read()


def test_a_bias_is_in_the_scale_of_data_times_weight() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    bias = node_of(graph, "Conv").inputs[2].read()
    quantize(graph)
    conv = node_of(graph, "Conv")
    (data, _), (weight, _), (scale, _) = (parameters(tensor) for tensor in conv.inputs)
    np.testing.assert_array_equal(scale, data * weight)
    np.testing.assert_array_equal(integers(conv, 2), np.rint(bias / scale.astype(np.float64)).astype(np.int32))


def test_a_bias_that_overflows_raises_the_scale_of_its_weight() -> None:
    graph = model("y = Conv (x, w, b)", "float[2,8,1,1] w, float[2] b = {1e7, 1}")
    weight = node_of(graph, "Conv").inputs[1]
    weight.values = weight.read() * np.float32([1e-6, 1]).reshape(2, 1, 1, 1)
    ctx = quantize(graph)
    stored = integers(node_of(graph, "Conv"), 2)
    assert 2**31 - 2**12 < stored[0] <= 2**31 - 1 and abs(int(stored[1])) < 2**20
    assert ctx.warnings == ["quantize: 1 scales of weights were raised so that biases fit into int32: w"]


def test_weights_that_are_all_zero_leave_their_bias_exact() -> None:
    graph = model("y = Conv (x, w, b)", "float[2,8,1,1] w, float[2] b = {0.0123, 0.5}")
    weight = node_of(graph, "Conv").inputs[1]
    weight.values = weight.read() * np.float32([0, 1]).reshape(2, 1, 1, 1)
    quantize(graph)
    conv = node_of(graph, "Conv")
    scale, _ = parameters(conv.inputs[2])
    assert integers(conv, 2)[0] * scale[0] == pytest.approx(0.0123, rel=1e-6)


def test_zeros_of_a_pruned_weight_stay_zero() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    weight = node_of(graph, "Conv").inputs[1]
    mask = np.random.default_rng(1).random(weight.shape) < 0.5
    weight.values = np.where(mask, np.float32(0), weight.read())
    quantize(graph)
    assert not integers(node_of(graph, "Conv"), 1)[mask].any()


def test_a_weight_of_two_layers_is_stored_once_and_their_bias_twice() -> None:
    graph = model("c = Conv (x, w, b) y = Conv (c, w, b)", CONV)
    quantize(graph)
    first, second = node_of(graph, "Conv", 0), node_of(graph, "Conv", 1)
    assert first.inputs[1] is second.inputs[1] and first.inputs[2] is not second.inputs[2]


@pytest.mark.parametrize("bias", ["float[4] c", "float[1,4] c", "float[1] c", "float c", "float[1,1] c"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_biases_of_gemm_by_shape(bias: str, per_channel: bool) -> None:
    graph = model("f = Flatten (x) y = Gemm (f, m, c)", f"float[288,4] m, {bias}", rank=2)
    before, feeds = ir.to_proto(graph.copy()), random_feeds(ir.to_proto(graph))
    quantize(graph, per_channel=per_channel)
    assert integers(node_of(graph, "Gemm"), 2).dtype == np.int32
    assert snr(Session(before).run(feeds)["y"], Session(ir.to_proto(graph)).run(feeds)["y"]) > 30


@pytest.mark.parametrize("attributes", ["alpha = 0.5", "beta = 2.0"])
def test_a_gemm_that_scales_keeps_its_bias_in_float(attributes: str) -> None:
    graph = model(f"f = Flatten (x) y = Gemm <{attributes}> (f, m, c)", "float[288,4] m, float[4] c", rank=2)
    before, feeds = ir.to_proto(graph.copy()), random_feeds(ir.to_proto(graph))
    quantize(graph)
    assert isinstance(node_of(graph, "Gemm").inputs[2], ir.Constant)
    found = Session(ir.to_proto(graph), optimize=True).run(feeds)["y"]
    assert snr(Session(before).run(feeds)["y"], found) > 30


@pytest.mark.parametrize("weights", ["int8", "uint8"])
@pytest.mark.parametrize("activations", ["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_types_and_integer_kernels(weights: str, activations: str, per_channel: bool) -> None:
    graph = model("c = Conv (x, w, b) r = Relu (c) y = Conv (r, w, b)", CONV)
    before, feeds = ir.to_proto(graph.copy()), random_feeds(ir.to_proto(graph), 2)
    quantize(graph, weights=weights, activations=activations, per_channel=per_channel)
    found = Session(ir.to_proto(graph), optimize=True).run(feeds)["y"]
    assert snr(Session(before).run(feeds)["y"], found) > 25


def test_clipping_a_weight_where_the_error_is_smallest() -> None:
    values = np.random.default_rng(0).normal(size=(4, 1000)).astype(np.float32)
    values[0, 0] = 20
    errors = {}
    for method in ("minmax", "mse"):
        encoding = weight_encoding(values, Integer("int4", symmetric=True), 0, method)  # type: ignore[arg-type]
        errors[method] = np.square(encoding.round_trip(values) - values).sum(axis=1)
    assert (errors["mse"] <= errors["minmax"]).all() and errors["mse"].sum() < 0.8 * errors["minmax"].sum()


def test_scales_that_would_be_no_normal_floats_are_raised() -> None:
    weight = np.full((1, 4), 1e-30, np.float32)
    data = Encoding.of_range(0, 1e-10, Integer("uint8", symmetric=False))
    fitted, raised = fit_for_bias(weight_encoding(weight, INT8, 0), weight, np.float32([1]), data)
    scale = bias_scale(data, fitted)
    assert raised == 1 and scale >= np.finfo(np.float32).tiny
    assert quantize_bias(np.float32([1]), scale) * scale == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(("target", "decibels"), [("onnx", 27), ("qnn", 26), ("tensorrt", 24), ("coreml", 24)])
def test_digits_stay_what_they_were(target: str, decibels: float) -> None:
    folder = FIXTURES / "digits_mobilenet"
    path = folder / "digits_mobilenet.onnx"
    done = onnxopt.run(path, "O2,quantize{samples=64}", data=folder / "calibration.npz", target=target, verify=False)
    with np.load(folder / "test.npz") as test:
        images, labels = test["input"][:200], test["label"][:200]
    expected = Session(path).run({"input": images})["logits"]
    found = Session(ir.to_proto(done.graph), optimize=True).run({"input": images})["logits"]
    assert snr(expected, found) > decibels
    assert (found.argmax(1) == labels).mean() >= (expected.argmax(1) == labels).mean() - 0.01


@pytest.mark.parametrize("name", ["digits_mobilenet", "tinybeauty"])
def test_all_layers_become_integer_kernels(name: str, tmp_path: Path) -> None:
    folder = FIXTURES / name
    done = onnxopt.run(folder / f"{name}.onnx", "O3,quantize{samples=2}", data=folder / "calibration.npz", verify=False)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(ir.to_proto(done.graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    kernels = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    layers = Counter(node.op for node in done.graph.nodes)
    assert kernels["QLinearConv"] == layers["Conv"] and kernels["QGemm"] == layers["Gemm"]
    assert not kernels.keys() & {"Conv", "Gemm", "MatMul", "FusedConv"}
    assert kernels["QuantizeLinear"] == 1 and kernels["DequantizeLinear"] <= 1


def test_samples_are_limited() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    copy = graph.copy()
    quantize(graph, samples=1)
    quantize(copy, data=samples(copy, 1))
    assert parameters(node_of(graph, "Conv").inputs[0])[0] == parameters(node_of(copy, "Conv").inputs[0])[0]
