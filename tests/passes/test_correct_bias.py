"""`correct-bias`: layers give out on average what they gave out in float."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.correct_bias import CorrectBias
from onnxopt.passes.quantize import Quantize
from onnxopt.quantization.float_model import FloatModel
from onnxopt.quantization.mean_errors import mean_errors, quantized_layers
from tests.passes.accuracy_models import IMAGE, arrays, filled, gains, pipeline
from tests.passes.checks import parse, run_pass
from tests.quantization.calibrated import samples_for

COARSE = Quantize(per_channel=False)
"""What makes errors with a mean."""


def positive(seed: int = 0) -> ir.Graph:
    """A model whose data have a mean, and so errors of weights too."""
    return filled(IMAGE, seed)


def errors(graph: ir.Graph, data: object, ctx: object) -> list[np.ndarray]:
    floats = ctx.kept(FloatModel)  # type: ignore[attr-defined]
    return mean_errors(floats, quantized_layers(graph, floats), data, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["onnx", "tensorrt"])
def test_less_noise_on_data_seen_and_unseen(target: str) -> None:
    quantize = Quantize(per_channel=False)
    assert min(gains(positive(), [quantize], [quantize, CorrectBias()], target)) > 0.0


@pytest.mark.parametrize("target", ["onnx", "tensorrt", "qnn", "coreml"])
def test_means_are_those_of_the_float_layers(target: str) -> None:
    graph = positive()
    data = samples_for(graph, arrays(graph))
    before, ctx = pipeline(graph, data, COARSE, target=target)
    after, then = pipeline(graph, data, COARSE, CorrectBias(), target=target)
    for one, two in zip(errors(before, data, ctx), errors(after, data, then), strict=True):
        assert np.abs(two).max() < 0.2 * np.abs(one).max(), "int32 biases leave half a step of theirs"


def test_a_second_run_changes_nothing() -> None:
    graph = positive()
    data = samples_for(graph, arrays(graph))
    found, ctx = pipeline(graph, data, COARSE, CorrectBias())
    ctx.rewrites.clear()
    assert not CorrectBias().run(found, ctx) and not ctx.rewrites


@pytest.mark.parametrize("target", ["onnx", "tensorrt"])
def test_a_layer_without_a_bias_gets_one(target: str) -> None:
    graph = filled(IMAGE.replace("(r2, w3, b3)", "(r2, w3)"))
    found, _ = pipeline(graph, samples_for(graph, arrays(graph)), COARSE, CorrectBias(), target=target)
    node = [node for node in found.nodes if node.op == "Conv"][2]
    bias = node.inputs[2]
    if target == "onnx":
        assert bias.producer.op == "DequantizeLinear" and bias.producer.inputs[0].dtype == np.int32
    else:
        assert isinstance(bias, ir.Constant) and bias.dtype == np.float32


def test_a_scaled_gemm_is_left() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 1] y)
        <float[2, 1] w = {1, 0.503}, float[1] b = {0}> { y = Gemm <alpha = 2.0> (x, w, b) }""")
    data = samples_for(graph, [np.array([1, 10], np.float32), np.array([3, 10], np.float32)])
    _, ctx = pipeline(graph, data, Quantize(), CorrectBias())
    assert [refusal.what for refusal in ctx.refusals if "alpha" in refusal.what]


def test_without_the_float_model() -> None:
    graph = positive()
    with pytest.raises(BadOption, match="run it after quantize"):
        run_pass(CorrectBias(), graph, data=samples_for(graph, arrays(graph)))
