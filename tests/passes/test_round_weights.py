"""`round-weights`: weights on the grid of `quantize`, with less error than rounding to nearest makes."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.quantize import Quantize
from onnxopt.passes.round_weights import RoundWeights
from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.weights import weight_encoding
from tests.passes.accuracy_models import IMAGE, TOKENS, arrays, filled, gains, pipeline, seen_and_unseen
from tests.passes.checks import check_golden, parse, run_pass
from tests.quantization.calibrated import samples_for


def weights(graph: ir.Graph) -> dict[str, np.ndarray]:
    """Of all layers, by name."""
    return {
        tensor.name: tensor.read()
        for node in graph.nodes
        for tensor in node.inputs
        if isinstance(tensor, ir.Constant) and tensor.name.startswith("w")
    }


@pytest.mark.parametrize("text", [IMAGE, TOKENS])
@pytest.mark.parametrize("options", [{}, {"weight_method": "mse"}, {"per_channel": False}])
def test_less_noise_of_weights_on_data_seen_and_unseen(text: str, options: dict[str, object]) -> None:
    quantize = Quantize(activations="uint16", **options)  # type: ignore[arg-type]  # so that weights are what is heard
    graph = filled(text.replace('"": 17', '"": 21'))
    assert min(gains(graph, [quantize], [RoundWeights(**options), quantize])) > 1.0  # type: ignore[arg-type]


def test_less_noise_with_4_bits() -> None:
    quantize = Quantize(weights="int4")
    graph = filled(IMAGE.replace('"": 17', '"": 21'))
    assert min(gains(graph, [quantize], [RoundWeights(weights="int4"), quantize])) > 1.0


def test_less_noise_with_8_bits() -> None:
    assert min(gains(filled(IMAGE), [Quantize()], [RoundWeights(), Quantize()])) > 0.0


def test_quantize_finds_the_same_grid() -> None:
    graph = filled(IMAGE)
    run_pass(RoundWeights(), graph, data=samples_for(graph, arrays(graph)))
    for name, values in weights(graph).items():
        encoding = weight_encoding(values, Integer("int8", symmetric=True), 0)
        np.testing.assert_allclose(encoding.round_trip(values), values, rtol=1e-6, err_msg=name)


def test_zeros_stay_zeros() -> None:
    graph = filled(IMAGE)
    for constant in (tensor for node in graph.nodes for tensor in node.inputs if isinstance(tensor, ir.Constant)):
        constant.values = np.where(np.abs(constant.read()) < 0.2, np.float32(0), constant.read())
    before = weights(graph)
    found, _ = pipeline(graph, samples_for(graph, arrays(graph)), RoundWeights())
    for name, values in weights(found).items():
        assert not values[before[name] == 0].any() and not np.array_equal(values, before[name])


def test_the_mean_of_the_error_goes_into_the_bias() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 1] y)
        <float[2, 1] w = {1, 0.503}, float[1] b = {0}> { y = Gemm (x, w, b) }""")
    data = samples_for(graph, [np.array([0, 10], np.float32), np.array([0, 10], np.float32)])
    run_pass(RoundWeights(), graph, data=data)
    weight, bias = (tensor.read() for tensor in graph.nodes[0].inputs[1:])
    assert 10 * weight[1, 0] + bias[0] == pytest.approx(5.03, abs=1e-6) and weight[1, 0] != pytest.approx(0.503)


def test_a_second_run_changes_nothing() -> None:
    graph = filled(IMAGE)
    data = samples_for(graph, arrays(graph))
    assert run_pass(RoundWeights(), graph, data=data)[0]
    changed, ctx = run_pass(RoundWeights(), graph, data=data)
    assert not changed and {refusal.what for refusal in ctx.refusals} == {"its weights are on the grid already"}


def test_golden() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y)
        <float[2, 2] w = {127, 50.4, 64.5, 127}, float[2] b = {1, 2}> { y = Gemm (x, w, b) }""")
    data = samples_for(graph, [np.array([1, 1], np.float32), np.array([3, 1], np.float32)])

    class Calibrated(RoundWeights):
        def run(self, graph: ir.Graph, ctx: object) -> bool:
            ctx.data = data  # type: ignore[attr-defined]
            return super().run(graph, ctx)  # type: ignore[arg-type]

        @classmethod
        def pass_name(cls) -> str:
            return "round-weights"

    check_golden(Calibrated(), graph, "what one weight does the other takes back")


def test_limit() -> None:
    graph = filled(IMAGE)
    _, ctx = run_pass(RoundWeights(), graph, data=samples_for(graph, arrays(graph)), limit=2)
    assert len(ctx.rewrites) == 2


@pytest.mark.parametrize(
    ("body", "weight", "reason"),
    [
        ("a = MatMul (x, w) y = MatMul (a, w)", "float[4, 4] w", "read by others"),
        ("y = MatMul (w, x)", "float[4, 4] w", "first factor"),
        ("y = MatMul (x, w)", "float[1, 4, 4] w", "not a matrix"),
    ],
)
def test_refusals(body: str, weight: str, reason: str) -> None:
    rank = "1, A, B" if "1, 4" in weight else "A, B"
    graph = filled(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[4, 4] x) => (float[{rank}] y) <{weight}> {{{body}}}'
    )
    data = samples_for(graph, [np.ones((4, 4), np.float32)])
    changed, ctx = run_pass(RoundWeights(), graph, data=data)
    assert not changed and any(reason in refusal.what for refusal in ctx.refusals), ctx.refusals


def test_without_data() -> None:
    with pytest.raises(BadOption, match="round-weights needs calibration data"):
        run_pass(RoundWeights(), filled(IMAGE))


def test_weights_with_a_zero_point() -> None:
    with pytest.raises(ValueError, match="give int8"):
        RoundWeights(weights="uint8")


def test_moments_do_not_grow_with_samples() -> None:
    graph = filled(IMAGE)
    seen, _ = seen_and_unseen(graph)
    one, two = (pipeline(graph, samples_for(graph, seen * times), RoundWeights())[0] for times in (1, 4))
    for name, values in weights(one).items():
        assert np.abs(values - weights(two)[name]).max() <= np.abs(values).max() / 60, name
