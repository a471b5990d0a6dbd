"""`factorize-depthwise`: dense convolutions as depthwise and 1x1 ones, exact where the weights have that rank."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.factorize_depthwise import FactorizeDepthwise
from onnxopt.pipeline.base import Preserves
from onnxopt.pruning.teacher import Teacher
from tests.passes.accuracy_models import arrays, filled, gains, noise, pipeline
from tests.passes.calibrated_passes import given
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run, run_pass
from tests.quantization.calibrated import samples_for


def conv(attributes: str = "", shape: str = "8, 4, 3, 3", bias: str = ", b", opset: int = 17) -> ir.Graph:
    """One Conv upon images of 4 channels, or a signal or a volume."""
    spatial = ", ".join(["9"] * (shape.count(",") - 1))
    rank = ", ".join(["A"] * (shape.count(",") + 1))
    return filled(
        f'<ir_version: 8, opset_import: ["": {opset}]> g (float[N, 4, {spatial}] x) => (float[{rank}] y) '
        f"<float[{shape}] w, float[{shape.split(',')[0]}] b> {{ y = Conv {attributes} (x, w{bias}) }}"
    )


def of_rank(graph: ir.Graph, rank: int) -> ir.Graph:
    """The same, with so many kernels for each input channel."""
    weight = graph.nodes[0].inputs[1]
    outputs, inputs, *kernel = weight.shape
    rng = np.random.default_rng(5)
    mixed, kernels = rng.normal(size=(outputs, inputs, rank)), rng.normal(size=(inputs, rank, math.prod(kernel)))
    weight.values = np.einsum("oir,irk->oik", mixed, kernels).reshape(weight.shape).astype(np.float32)
    return graph


EXACT = [
    ("", "8, 4, 3, 3"),
    ("<strides = [2, 1], pads = [1, 0, 2, 1], dilations = [1, 2]>", "8, 4, 3, 3"),
    ('<auto_pad = "SAME_UPPER", strides = [2, 2]>', "8, 4, 3, 3"),
    ("<group = 2, pads = [1, 1, 1, 1], kernel_shape = [3, 3]>", "12, 2, 3, 3"),
    ("<pads = [2, 2]>", "8, 4, 5"),
    ("", "8, 4, 2, 3, 2"),
]


@pytest.mark.parametrize(("attributes", "shape"), EXACT)
@pytest.mark.parametrize("bias", [", b", ""])
@pytest.mark.parametrize("rank", [1, 2])
def test_weights_of_low_rank_are_reproduced(attributes: str, shape: str, bias: str, rank: int) -> None:
    graph = of_rank(conv(attributes, shape, bias), rank)
    pass_ = FactorizeDepthwise(rank=rank, max_error=1e-6)
    ctx = check_pass(given(pass_, arrays(graph), Preserves.VALUES), graph)
    assert ops(graph) == ["Conv", "Conv"]
    depthwise, mixing = graph.nodes
    assert depthwise.attrs["group"] == 4 and depthwise.inputs[1].shape[:2] == (4 * rank, 1)
    assert len(depthwise.inputs) == 2 and set(mixing.inputs[1].shape[2:]) == {1}
    assert ctx.statistics["factorize-depthwise: weights after"] == sum(
        math.prod(node.inputs[1].shape) for node in graph.nodes
    )


def test_the_rank_is_found() -> None:
    graph = of_rank(conv(shape="16, 4, 3, 3"), 3)
    check_pass(given(FactorizeDepthwise(max_error=1e-9), arrays(graph), Preserves.VALUES), graph)
    assert graph.nodes[0].inputs[1].shape == (12, 1, 3, 3)


def test_golden() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, 4] x) => (float[N, 4, 3] y)
        <float[4, 2, 3] w = {1, 2, 3, 1, 0, 1, 2, 4, 6, 2, 0, 2, -1, -2, -3, 1, 0, 1, 0, 0, 0, 3, 0, 3},
         float[4] b = {1, 2, 3, 4}>
        { y = Conv <strides = [2], pads = [2, 2]> (x, w, b) }""")
    rng = np.random.default_rng(0)
    samples = [rng.integers(-9, 9, (2, 4)).astype(np.float32) for _ in range(4)]
    check_golden(given(FactorizeDepthwise(), samples, decimals=3), graph, "one kernel a channel")


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_error_on_the_data_is_as_it_says(rank: int) -> None:
    graph = conv("<pads = [1, 1, 1, 1]>", "16, 4, 3, 3")
    samples = arrays(graph, 400)
    found, ctx = pipeline(graph, samples_for(graph, samples), FactorizeDepthwise(rank=rank))
    said = ctx.statistics["factorize-depthwise: largest error of an output, millionths of its energy"] / 1e6
    x = np.stack(samples)
    mean = _mean_energy(graph, x)
    measured = 10 ** (-noise(graph, found, samples) / 10)
    assert measured * mean == pytest.approx(said, rel=0.05)


def _mean_energy(graph: ir.Graph, x: np.ndarray) -> float:
    """E[y^2] / Var[y], over all channels."""
    y = run(ir.to_proto(graph), {"x": x})["y"].astype(np.float64)
    return float(np.mean(y**2) / np.mean(y.var(axis=(0, 2, 3))))


def test_more_kernels_are_nearer_on_data_unseen() -> None:
    graph = conv("<pads = [1, 1, 1, 1]>", "16, 4, 3, 3")
    assert min(gains(graph, [FactorizeDepthwise(rank=2)], [FactorizeDepthwise(rank=4)])) > 2.0


def test_the_statistics_tell_what_it_costs() -> None:
    graph = conv("<pads = [1, 1, 1, 1]>", "16, 4, 3, 3")
    _, ctx = pipeline(graph, samples_for(graph, arrays(graph)), FactorizeDepthwise(rank=2))
    told = {key.partition(": ")[2]: value for key, value in ctx.statistics.items()}
    before, after = 4 * 16 * 9, 2 * 4 * (9 + 16)
    assert (told["layers"], told["weights before"], told["weights after"]) == (1, before, after)
    assert (told["MACs before"], told["MACs after"]) == (81 * before, 81 * after)
    assert ctx.rewrites[0].what.startswith("rank 2: 576 weights as 200, ")


def test_float16() -> None:
    graph = of_rank(conv(), 1)
    graph.inputs[0].dtype = graph.outputs[0].dtype = np.dtype(np.float16)
    for constant in graph.nodes[0].inputs[1:]:
        constant.values = constant.read().astype(np.float16)
    samples = [array.astype(np.float16) for array in arrays(graph)]
    found, _ = pipeline(graph, samples_for(graph, samples), FactorizeDepthwise(max_error=1e-4))
    assert len(found.nodes) == 2 and all(node.inputs[1].dtype == np.float16 for node in found.nodes)


@pytest.mark.parametrize(
    ("options", "graph", "reason"),
    [
        ({}, conv(), r"rank 4 leaves .* error, and max-error=0.01"),
        ({"rank": 5}, conv(), "rank 5 does not pay, 4 is the largest that does"),
        ({}, conv(shape="1, 4, 3, 3"), "as many weights even with rank 1"),
        ({"rank": 2, "max_error": 1e-6}, conv(), "rank 2 leaves"),
    ],
)
def test_refusals(options: dict[str, float], graph: ir.Graph, reason: str) -> None:
    samples = arrays(graph)
    check_refusal(given(FactorizeDepthwise(**options), samples), graph, reason)  # type: ignore[arg-type]


SHARED = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 8, 9, 9] x) => (float[N, 8, A, B] y)
  <float[8, 8, 3, 3] w> { a = Conv (x, w) y = Conv (a, w) }"""
COMPUTED = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 1, 3, 3] x) => (float[A, B, C, D] y)
  <float[8, 8, 3, 3] w, float[8, 8, 9, 9] c> { y = Conv (c, w) z = Relu (x) }"""


@pytest.mark.parametrize(("text", "reason"), [(SHARED, "is read by others too"), (COMPUTED, "are constant")])
def test_refusals_of_layers_round_about(text: str, reason: str) -> None:
    graph = filled(text)
    changed, ctx = run_pass(FactorizeDepthwise(rank=1), graph, data=samples_for(graph, arrays(graph)))
    assert not changed and any(reason in refusal.what for refusal in ctx.refusals), ctx.refusals


def test_convolutions_in_subgraphs_are_left_alone() -> None:
    graph = filled("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4, 9, 9] x) => (float[N, 8, 7, 7] y)
        <float[8, 4, 3, 3] w, bool c = {1}> { y = If (c) <
            then_branch = t () => (float[N, 8, 7, 7] u) { u = Conv (x, w) },
            else_branch = e () => (float[N, 8, 7, 7] v) { v = Conv (x, w) }> }""")
    changed, ctx = run_pass(FactorizeDepthwise(rank=1), graph, data=samples_for(graph, arrays(graph)))
    assert not changed and {refusal.what for refusal in ctx.refusals} == {"it is in a subgraph or function"}


@pytest.mark.parametrize("shape", ["8, 4, 1, 1", "4, 1, 3, 3"])
def test_pointwise_and_depthwise_ones_are_no_candidates(shape: str) -> None:
    graph = conv("<group = 4>" if shape.startswith("4") else "", shape)
    changed, ctx = run_pass(FactorizeDepthwise(rank=1), graph, data=samples_for(graph, arrays(graph)))
    assert not changed and not ctx.refusals and ctx.kept(Teacher) is None


def test_only_those_that_are_asked_for_and_the_teacher_is_kept() -> None:
    graph = filled("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4, 9, 9] x) => (float[N, 8, A, B] y)
        <float[8, 4, 3, 3] one, float[8, 8, 3, 3] two> { a = Conv (x, one) r = Relu (a) y = Conv (r, two) }""")
    data = samples_for(graph, arrays(graph))
    before = ir.to_text(graph)
    _, ctx = run_pass(FactorizeDepthwise(rank=1, exclude=("o*",)), graph, data=data)
    assert ops(graph) == ["Conv", "Relu", "Conv", "Conv"]
    teacher = ctx.kept(Teacher)
    assert teacher is not None and ir.to_text(teacher.graph) == before
    with pytest.raises(BadOption, match="factorize-depthwise: 'thr' matches no layer"):
        run_pass(FactorizeDepthwise(include=("thr",)), graph, data=data)


def test_limit() -> None:
    graph = filled(SHARED.replace("(a, w)", "(a, v)").replace("> {", ", float[8, 8, 3, 3] v> {"))
    _, ctx = run_pass(FactorizeDepthwise(rank=1), graph, data=samples_for(graph, arrays(graph)), limit=1)
    assert len(ctx.rewrites) == 1 and ops(graph) == ["Conv"] * 3


def test_without_data() -> None:
    with pytest.raises(BadOption, match="factorize-depthwise needs calibration data: give --data"):
        run_pass(FactorizeDepthwise(), conv())


@pytest.mark.parametrize("options", [{"rank": 0}, {"max_error": -0.1}, {"max_error": math.nan}, {"samples": 0}])
def test_options_that_say_nothing(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        FactorizeDepthwise(**options)  # type: ignore[arg-type]
