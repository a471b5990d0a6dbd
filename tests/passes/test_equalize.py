"""`equalize`: the same model in float, and less noise in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.equalize import Equalize
from onnxopt.passes.quantize import Quantize
from onnxopt.pipeline.base import Preserves
from tests.passes.accuracy_models import IMAGE, arrays, filled, gains
from tests.passes.checks import assert_equal_outputs, parse, run, run_pass
from tests.quantization.calibrated import samples_for

SPREAD = 2.0


def equalized(graph: ir.Graph) -> tuple[bool, list[str], float]:
    """Whether it changed, the reasons of refusals, and the largest change of a weight; outputs have to be the same."""
    samples = arrays(graph)
    before = ir.to_proto(graph.copy())
    changed, ctx = run_pass(Equalize(), graph, data=samples_for(graph, samples))
    feeds = {graph.inputs[0].name: np.stack(samples)}
    assert_equal_outputs(run(before, feeds), run(ir.to_proto(graph), feeds), Preserves.VALUES)
    return changed, [refusal.what for refusal in ctx.refusals], len(ctx.rewrites)


@pytest.mark.parametrize("seed", range(3))
def test_less_noise_on_data_seen_and_unseen(seed: int) -> None:
    graph = filled(IMAGE, seed, spread=SPREAD)
    assert min(gains(graph, [Quantize()], [Equalize(), Quantize()])) > 0.1


@pytest.mark.parametrize(
    "between",
    ["Relu (c1)", "LeakyRelu <alpha = 0.1> (c1)", "PRelu (c1, slope)", "MaxPool <kernel_shape = [1, 1]> (c1)"],
)
def test_the_same_values_through(between: str) -> None:
    text = IMAGE.replace("Relu (c1)", between).replace("float[5] b4>", "float[5] b4, float[8, 1, 1] slope>")
    if "slope)" not in between:
        text = text.replace(", float[8, 1, 1] slope>", ">")
    changed, reasons, regions = equalized(filled(text, spread=SPREAD))
    assert changed and not reasons and regions


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Relu (c1)", "Clip (c1, low, high)", "ends at values that are the same for all channels"),
        ("Relu (c1)", "Sigmoid (c1)", "does not scale with its data"),
        ("(float[N, 5, 9, 9] y)", "(float[N, 5, 9, 9] y, float[N, 8, 9, 9] a)", "'a' is an output"),
        ("Add (c3, r1)", "Add (c3, x)", "is an input of the graph"),
        ("Add (c3, r1)", "Concat <axis = 2> (c3, r1)", "does not scale"),
    ],
)
def test_refusals(old: str, new: str, reason: str) -> None:
    text = IMAGE.replace(old, new)
    if "Clip" in new:
        text = text.replace("float[5] b4>", "float[5] b4, float low = {0}, float high = {6}>")
    if "Concat" in new:
        text = text.replace("9, 9] y)", "H, 9] y)")
    if "(c3, x)" in new:
        text = text.replace("float[N, 4", "float[N, 8").replace("float[8, 4, 3, 3]", "float[8, 8, 3, 3]")
    _, reasons, _ = equalized(filled(text, spread=SPREAD))
    assert any(reason in said for said in reasons), reasons


def test_zeros_stay_zeros() -> None:
    graph = filled(IMAGE, spread=SPREAD)
    constants = [tensor for node in graph.nodes for tensor in node.inputs if isinstance(tensor, ir.Constant)]
    for constant in constants:
        constant.values = np.where(np.abs(constant.read()) < 0.2, np.float32(0), constant.read())
    before = {constant.name: constant.read() == 0 for constant in constants}
    equalized(graph)
    after = {t.name: t.read() == 0 for node in graph.nodes for t in node.inputs if isinstance(t, ir.Constant)}
    assert all(np.array_equal(zeros, after[name]) for name, zeros in before.items())


def test_what_is_even_is_left() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y)
        <float[2, 2] v = {1, 0, 0, 1}, float[2, 2] w = {1, 0.5, 0.5, 1}> { h = Gemm (x, v) y = Gemm (h, w) }""")
    changed, ctx = run_pass(Equalize(), graph, data=samples_for(graph, [np.array([1, -1], np.float32)]))
    assert not changed and not ctx.refusals


def test_golden_products() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 1] y)
        <float[2, 2] v = {16, 0, 0, 1}, float[2, 1] w = {1, 1}> { h = Gemm (x, v) y = Gemm (h, w) }""")
    run_pass(Equalize(), graph, data=samples_for(graph, [np.array([1, 1], np.float32)]))
    first, second = (node.inputs[1].read() for node in graph.nodes)
    assert first[0, 0] / first[1, 1] < 16 and np.allclose(first.diagonal() * second[:, 0], [16, 1])


def test_each_region_is_one_rewrite() -> None:
    graph = filled(IMAGE, spread=SPREAD)
    _, ctx = run_pass(Equalize(), graph, data=samples_for(graph, arrays(graph)), limit=1)
    assert len(ctx.rewrites) == 1


def test_without_data() -> None:
    with pytest.raises(BadOption, match="equalize needs calibration data"):
        run_pass(Equalize(), filled(IMAGE))
