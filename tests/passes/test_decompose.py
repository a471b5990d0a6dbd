"""`decompose`: matrices as products of small ones, exact where the weights have that rank."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.decompose import Decompose
from onnxopt.pipeline.base import Preserves
from onnxopt.pruning.teacher import Teacher
from tests.passes.accuracy_models import arrays, filled, gains, pipeline
from tests.passes.calibrated_passes import given
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass
from tests.quantization.calibrated import samples_for

GEMM = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 16] x) => (float[N, 12] y)
  <float[16, 12] w, float[12] b> { y = Gemm (x, w, b) }"""
MATMUL = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 5, 16] x) => (float[N, 5, 12] y)
  <float[16, 12] w> { y = MatMul (x, w) }"""
CONV = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 16, 9, 9] x) => (float[N, 12, A, B] y)
  <float[12, 16, 1, 1] w, float[12] b> { y = Conv (x, w, b) }"""
EXACT = {
    "Gemm": GEMM,
    "Gemm without bias": GEMM.replace(", b) }", ") }"),
    "Gemm transposed and scaled": GEMM.replace("Gemm (", "Gemm <transB = 1, alpha = 0.5, beta = 3.0> (").replace(
        "[16, 12]", "[12, 16]"
    ),
    "Gemm with one number as bias": GEMM.replace("float[12] b", "float[1] b"),
    "Gemm of opset 9": GEMM.replace('"": 17', '"": 9').replace("ir_version: 8", "ir_version: 4"),
    "transposed Gemm of opset 9": GEMM.replace('"": 17', '"": 9')
    .replace("[16, 12]", "[12, 16]")
    .replace("Gemm (", "Gemm <transB = 1> ("),
    "MatMul": MATMUL,
    "Conv": CONV,
    "Conv without bias": CONV.replace(", b) }", ") }"),
    "Conv of large kernel": CONV.replace("12, 16, 1, 1", "12, 16, 3, 3").replace(
        "Conv (", "Conv <strides = [2, 1], pads = [1, 0, 2, 1], dilations = [1, 2]> ("
    ),
}


def of_rank(graph: ir.Graph, rank: int) -> ir.Graph:
    """The same, with weights of this rank."""
    weight = graph.nodes[0].inputs[1]
    rows = weight.shape[0]
    rng = np.random.default_rng(5)
    product = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, math.prod(weight.shape) // rows))
    weight.values = product.reshape(weight.shape).astype(np.float32)
    return graph


@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize("rank", [1, 4])
def test_weights_of_low_rank_are_reproduced(case: str, rank: int) -> None:
    graph = of_rank(filled(EXACT[case]), rank)
    pass_ = Decompose(max_error=1e-6)
    check_pass(given(pass_, arrays(graph, 32), Preserves.VALUES), graph)
    first, second = graph.nodes
    assert rank in first.inputs[1].shape and rank in second.inputs[1].shape and len(first.inputs) == 2
    assert first.outputs[0].shape in ([None], None) or rank in first.outputs[0].shape


def test_a_weight_of_a_constant_node() -> None:
    row = ", ".join(str(place % 4 + 1) for place in range(16))
    graph = parse(f"""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y) {{
        w = Constant <value = float[4, 4] {{{row}}}> ()
        [mine] y = MatMul (x, w) }}""")
    check_pass(given(Decompose(max_error=1e-6), arrays(graph), Preserves.VALUES), graph)
    assert [(node.op, node.name) for node in graph.nodes] == [("MatMul", "mine_factor"), ("MatMul", "mine")]


def test_golden() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
        <float[4, 4] w = {1, 2, 3, 4, 2, 4, 6, 8, 3, 6, 9, 12, 4, 8, 12, 16}, float[4] b = {1, 2, 3, 4}>
        { y = Gemm <alpha = 2.0> (x, w, b) }""")
    rng = np.random.default_rng(0)
    samples = [rng.integers(-9, 9, 4).astype(np.float32) for _ in range(8)]
    check_golden(given(Decompose(), samples, decimals=3), graph, "one row and one column")


def test_the_data_decide_what_is_kept() -> None:
    """The second input hardly varies: what it adds goes, though its weights are the largest."""
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 3] y)
        <float[3, 3] w = {1, 1, 0, 0, 0, 9, 1, 1, 0}, float[3] b = {0, 0, 0}> { y = Gemm (x, w, b) }""")
    rng = np.random.default_rng(0)
    samples = [(np.array([0, 5, 0]) + rng.normal(size=3) * [1, 0.001, 1]).astype(np.float32) for _ in range(64)]
    found, _ = pipeline(graph, samples_for(graph, samples), Decompose(rank=1))
    first, second = (node.inputs[1].read() for node in found.nodes)
    np.testing.assert_allclose(first @ second, [[1, 1, 0], [0, 0, 0], [1, 1, 0]], atol=0.05)
    np.testing.assert_allclose(found.nodes[1].inputs[2].read(), [0, 0, 45], atol=0.5)


def test_few_samples_of_many_inputs_do_not_tell_that_all_is_well() -> None:
    """8 samples lie in 8 directions: a product of rank 8 would be exact on them, and useless on others."""
    graph = filled(GEMM.replace("[16, 12]", "[64, 48]").replace("16]", "64]").replace("12]", "48]"))
    samples = [np.random.default_rng(seed).normal(size=64).astype(np.float32) for seed in range(8)]
    check_refusal(given(Decompose(max_error=0.01), samples), graph, "rank 20 leaves [2-6][0-9].* error")


def test_a_higher_rank_is_nearer_on_data_unseen() -> None:
    graph = filled(CONV)
    assert min(gains(graph, [Decompose(rank=2)], [Decompose(rank=4)])) > 0.5


def test_the_statistics_tell_what_it_costs() -> None:
    graph = filled(CONV)
    _, ctx = pipeline(graph, samples_for(graph, arrays(graph)), Decompose(rank=2))
    told = {key.partition(": ")[2]: value for key, value in ctx.statistics.items()}
    before, after = 12 * 16, 2 * (12 + 16)
    assert (told["layers"], told["weights before"], told["weights after"]) == (1, before, after)
    assert (told["MACs before"], told["MACs after"]) == (81 * before, 81 * after)
    assert 0 < told["largest error of an output, millionths of its energy"] < 1e6


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({}, CONV, r"rank 5 leaves .* error, and max-error=0.01"),
        ({"rank": 6}, CONV, "rank 6 does not pay, 5 is the largest that does"),
        ({"rank": 6, "ratio": 0.9, "max_error": 1e-9}, CONV, "rank 6 leaves"),
        ({"ratio": 0.1}, CONV, "as many weights even with rank 1"),
        ({"rank": 1}, CONV.replace("16, 1, 1", "8, 1, 1").replace("Conv (", "Conv <group = 2> ("), "2 groups"),
        (
            {"rank": 1},
            MATMUL.replace("w> { y", "w, float[12, 12] v> { a").replace(" }", " y = MatMul (a, v) }"),
            "factor",
        ),
        ({"rank": 1}, MATMUL.replace("[16, 12]", "[2, 16, 12]").replace("5,", "2, 5,"), "not a matrix"),
    ],
)
def test_refusals(options: dict[str, float], text: str, reason: str) -> None:
    graph = filled(text)
    check_refusal(given(Decompose(**options), arrays(graph)), graph, reason)  # type: ignore[arg-type]


def test_depthwise_ones_are_no_candidates() -> None:
    graph = filled(
        CONV.replace("12, 16, 1, 1", "16, 1, 3, 3").replace("12", "16").replace("Conv (", "Conv <group = 16> (")
    )
    changed, ctx = run_pass(Decompose(rank=1), graph, data=samples_for(graph, arrays(graph)))
    assert not changed and not ctx.refusals and ctx.kept(Teacher) is None


def test_the_first_factor_of_a_product_is_no_layer() -> None:
    graph = filled("""<ir_version: 8, opset_import: ["": 17]> g (float[16, 4] x) => (float[16, 4] y)
        <float[16, 16] w> { y = MatMul (w, x) }""")
    changed, ctx = run_pass(Decompose(rank=1), graph, data=samples_for(graph, [np.ones((16, 4), np.float32)]))
    assert not changed and "the weight 'x' is not constant" in ctx.refusals[0].what


def test_an_output_in_the_middle_and_a_shared_one_stay() -> None:
    graph = filled("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 16] x) => (float[N, 16] a, float[N, 16] y)
        <float[16, 16] w, float[16, 16] v> { a = MatMul (x, w) b = Relu (a) y = MatMul (b, v) }""")
    found, _ = pipeline(graph, samples_for(graph, arrays(graph)), Decompose(rank=2))
    assert ops(found) == ["MatMul", "MatMul", "Relu", "MatMul", "MatMul"]
    assert [tensor.name for tensor in found.outputs] == ["a", "y"]


def test_without_data() -> None:
    with pytest.raises(BadOption, match="decompose needs calibration data: give --data"):
        run_pass(Decompose(), filled(GEMM))


@pytest.mark.parametrize(
    "options",
    [{"rank": 0}, {"max_error": 1.5}, {"max_error": math.nan}, {"ratio": 0.0}, {"ratio": 1.1}, {"samples": 0}],
)
def test_options_that_say_nothing(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        Decompose(**options)  # type: ignore[arg-type]
