"""`quantize`: golden graphs for each target, its options, and what it asks for."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.data import inputs_of
from onnxopt.data.dataset import DataSet, data_set
from onnxopt.errors import BadData, BadOption
from onnxopt.passes.calibrate import Calibrate
from onnxopt.passes.quantize import Quantize
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.target import target_names
from onnxopt.quantization.legality import violations
from onnxopt.quantization.ranges import Ranges
from tests.passes.checks import parse, run_pass
from tests.passes.quantize_models import golden, model, pairs, quantize, read_by, samples

CONV = "float[8,8,1,1] w, float[8] b"
SMALL = """
    <ir_version: 8, opset_import: ["" : 17]>
    small (float[1,2,4,4] x) => (float[1,2] y)
    <
        float[2,2,1,1] w1 = {1, -2, 3, 0.5}, float[2] b1 = {0.5, -1},
        float[2,2,1,1] w2 = {-1, 1, 2, 1}, float[2] b2 = {0, 2},
        float[2,4] w3 = {1, 2, 3, 4, -1, -2, -3, -4}, float[2] b3 = {1, -1}
    >
    {
        c1 = Conv (x, w1, b1)
        r1 = Relu (c1)
        c2 = Conv (r1, w2, b2)
        a = Add (c2, r1)
        r2 = Relu (a)
        m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r2)
        v = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r2)
        k = Concat <axis = 1> (m, v)
        g = GlobalAveragePool (k)
        f = Flatten (g)
        y = Gemm <transB = 1> (f, w3, b3)
    }
"""


def whole_numbers(graph: ir.Graph) -> DataSet:
    """Samples that make every sum exact, so that ranges are the same on any processor."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-4, 5, (1, 2, 4, 4)).astype(np.float32) for _ in range(4)]
    return data_set("whole numbers", inputs_of(ir.to_proto(graph)), lambda: ({"x": array} for array in arrays), 4)


@pytest.mark.parametrize("target", target_names())
def test_golden(target: str) -> None:
    graph = parse(SMALL)
    golden(graph, target, whole_numbers(graph))
    assert not violations(graph, target)


@pytest.mark.parametrize("target", target_names())
def test_a_limit_leaves_a_valid_graph_at_every_rewrite(target: str) -> None:
    data = whole_numbers(parse(SMALL))
    _, whole = run_pass(Quantize(), parse(SMALL), data=data, target=target)
    for limit in range(len(whole.rewrites)):
        graph = parse(SMALL)
        changed, ctx = run_pass(Quantize(), graph, data=data, target=target, limit=limit)
        assert changed == (limit > 0) and len(ctx.rewrites) == limit
        ir.to_proto(graph)
        for node in graph.nodes:
            for tensor in node.inputs:
                assert tensor.producer is None or tensor.producer in graph.nodes


def test_calibration_data_are_needed() -> None:
    with pytest.raises(BadOption, match="needs calibration data: give --data"):
        Quantize().run(model("y = Conv (x, w, b)", CONV), Context())


def test_ranges_that_calibrate_left_are_taken() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    ctx = Context(current="quantize", data=samples(graph))
    Calibrate().run(graph, ctx)
    ctx.data = None
    assert Quantize().run(graph, ctx)
    assert read_by(graph, "Conv") == [["uint8", "int8", "int32"]]


def test_ranges_of_another_graph_are_told_of() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    ctx = Context(current="quantize", data=samples(graph))
    Calibrate().run(graph, ctx)
    weight = graph.nodes[0].inputs[1]
    weight.values = weight.read() * 2
    Quantize().run(graph, ctx)
    assert "the graph has changed since calibrate" in ctx.warnings[-1]


def test_a_missing_range_is_named() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    ctx = Context(current="quantize")
    ctx.keep(Ranges({}, "minmax", 1, ""))
    with pytest.raises(BadData, match="no calibrated range of 'x': run calibrate right before quantize"):
        Quantize().run(graph, ctx)


def test_the_range_of_what_is_handed_on_is_that_of_its_source() -> None:
    graph = model("c = Conv (x, w, b) m = MaxPool <kernel_shape = [2, 2]> (c) y = Conv (m, w, b)", CONV)
    ctx = Context(current="quantize", data=samples(graph))
    Calibrate().run(graph, ctx)
    assert "m" not in ctx.kept(Ranges).by_name  # type: ignore[union-attr]
    Quantize(keep_float=("c",)).run(graph, ctx)
    assert [before for before, _ in pairs(graph)] == ["MaxPool", "Conv"]


def test_nodes_are_left_out_by_pattern() -> None:
    graph = model("[first] c = Conv (x, w, b) [second] y = Conv (c, w, b)", CONV)
    quantize(graph, keep_float=("fir*",))
    assert read_by(graph, "Conv") == [["float"] * 3, ["uint8", "int8", "int32"]]


def test_operators_are_left_out_by_pattern() -> None:
    graph = model("c = Conv (x, w, b) r = Relu (c) y = Add (r, r)", CONV)
    assert not quantize(graph, keep_float=("Conv",)).rewrites


@pytest.mark.parametrize("option", ["keep-float", "wide"])
def test_a_pattern_that_matches_nothing_is_an_error(option: str) -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    with pytest.raises(BadOption, match=f"{option}=Cnov matches no node"):
        Quantize(**{option.replace("-", "_"): ("Cnov",)}).run(graph, Context(data=samples(graph)))


def test_only_some_operators() -> None:
    body = "c = Conv (x, w, b) f = Flatten (c) y = MatMul (f, m)"
    graph = model(body, f"{CONV}, float[288,4] m", rank=2)
    quantize(graph, ops=("MatMul",))
    assert read_by(graph, "Conv") == [["float"] * 3] and read_by(graph, "MatMul") == [["uint8", "int8"]]


def test_operators_that_the_target_does_not_quantize_are_an_error() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    with pytest.raises(BadOption, match="the target quantizes no Cnov: give some of Conv, Gemm, MatMul"):
        Quantize(ops=("Cnov",)).run(graph, Context(data=samples(graph)))


def test_an_old_opset_is_no_matter_where_nothing_is_quantized() -> None:
    graph = model("y = Exp (x)", opset=7)
    assert not quantize(graph).rewrites


def test_types() -> None:
    graph = model("y = Conv (x, w, b)", CONV, opset=21)
    quantize(graph, activations="uint16", weights="int4")
    assert read_by(graph, "Conv") == [["uint16", "int4", "int32"]]


@pytest.mark.parametrize(
    ("target", "options", "reason"),
    [
        ("tensorrt", {"activations": "uint8"}, "takes no uint8 activations: give one of int8"),
        ("qnn", {"activations": "int8"}, "takes no int8 activations: give one of uint8, uint16"),
        ("coreml", {"weights": "int4"}, "takes no int4 weights"),
        ("tensorrt", {"wide": ("Conv",)}, "no wider integers"),
    ],
)
def test_what_a_target_does_not_take_is_an_error(target: str, options: dict[str, object], reason: str) -> None:
    graph = model("y = Conv (x, w, b)", CONV, opset=21)
    with pytest.raises(BadOption, match=reason):
        Quantize(**options).run(graph, Context(target=target, data=samples(graph)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("opset", "options", "needed"),
    [(9, {}, 10), (11, {}, 13), (17, {"activations": "uint16"}, 21), (17, {"weights": "int4"}, 21)],
)
def test_an_opset_that_is_too_old_is_an_error(opset: int, options: dict[str, object], needed: int) -> None:
    graph = model("y = Conv (x, w, b)", CONV, opset=opset)
    with pytest.raises(BadOption, match=rf"needs opset {needed} .* run convert-opset\{{opset={needed}\}} before"):
        Quantize(**options).run(graph, Context(data=samples(graph)))  # type: ignore[arg-type]


def test_opset_10_takes_one_scale_a_weight() -> None:
    graph = model("y = Conv (x, w, b)", CONV, opset=10)
    quantize(graph, per_channel=False)
    assert read_by(graph, "Conv") == [["uint8", "int8", "int32"]]


def test_what_is_quantized_already_stays() -> None:
    graph = model("y = Conv (x, w, b)", CONV)
    quantize(graph)
    changed, ctx = run_pass(Quantize(), graph, data=samples(graph))
    assert not changed
    assert ctx.warnings == [
        "quantize: 1 layers are quantized already and stay as they are; there is nothing left to quantize"
    ]


def test_layers_in_subgraphs_stay_in_float_and_are_counted() -> None:
    graph = model(
        "c = Conv (x, w, b) s = Shape (c) z = ReduceSum (s) k = Cast <to = 9> (z) y = If (k) <"
        "then_branch = t () => (float[p,q,r,s] u) { u = Conv (c, w, b) },"
        "else_branch = e () => (float[p,q,r,s] v) { v = Relu (c) }>",
        CONV,
    )
    ctx = quantize(graph)
    assert read_by(graph, "Conv") == [["uint8", "int8", "int32"]]
    assert ctx.warnings == [
        "quantize: 1 layers in subgraphs and functions stay in float: only the main graph is quantized"
    ]


def test_batch_normalizations_are_told_of() -> None:
    graph = model(
        "c = Conv (x, w, b) y = BatchNormalization (c, b, b, b, v)", f"{CONV}, float[8] v = {{1,1,1,1,1,1,1,1}}"
    )
    ctx = quantize(graph)
    assert "BatchNormalizations are there: run -O 2 or -O 3 before" in ctx.warnings[0]


def test_other_floats_are_left_alone() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]> g (float16[1,2,3,3] x) => (float16[1,2,3,3] y)
        <float16[2,2,1,1] w = {1, 2, 3, 4}> { y = Conv (x, w) }
    """)
    ctx = quantize(graph)
    assert not ctx.rewrites and "is float16, and only float32 is quantized" in ctx.refusals[0].what


def test_weights_that_are_computed_are_left_to_fold_constants() -> None:
    graph = model("t = Transpose (m) f = Flatten (x) y = MatMul (f, t)", "float[4,288] m", rank=2)
    ctx = quantize(graph)
    assert not ctx.rewrites and "is computed from constants: run fold-constants first" in ctx.refusals[0].what
