"""`quantize-weights`: fewer bits for weights, zeros that stay zeros, and a file that is smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.quantize_weights import QuantizeWeights
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, random_feeds, run, run_pass

RNG = np.random.default_rng(0)
LAYERS = {
    "Conv": ([1, 32, 6, 6], [16, 32, 3, 3], {}, 1),
    "ConvTranspose": ([1, 32, 6, 6], [32, 16, 3, 3], {}, 1),
    "MatMul": ([2, 3, 64], [64, 40], {}, 1),
    "Gemm": ([3, 64], [64, 40], {}, 1),
    "Gemm transposed": ([3, 64], [40, 64], {"transB": 1}, 1),
    "Gather": ([2, 3], [50, 64], {}, 0),
}


def weights(shape: list[int], zeros: float = 0.2) -> np.ndarray:
    """Normally distributed, some of them pruned."""
    values = RNG.normal(size=shape).astype(np.float32)
    values[RNG.random(shape) < zeros] = 0
    return values


def layer(case: str, opset: int = 21, values: np.ndarray | None = None, dtype: type = np.float32) -> ir.Graph:
    shape, weight, attrs, index = LAYERS[case]
    w: np.ndarray = (weights(weight) if values is None else values).astype(dtype)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    names = ["w", "x"] if index == 0 else ["x", "w"]
    node = helper.make_node(case.split()[0], names, ["y"], "layer", None, None, None, **attrs)
    kind = TensorProto.INT64 if index == 0 else code
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", code, None)], [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def snr(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise, in dB."""
    wide, noise = expected.astype(np.float64), expected.astype(np.float64) - found
    return float(10 * np.log10(np.square(wide).sum() / max(np.square(noise).sum(), 1e-30)))


def outputs_before_and_after(graph: ir.Graph, pass_: QuantizeWeights, **context: object) -> float:
    before = ir.to_proto(graph.copy())
    feeds = random_feeds(before)
    feeds = {name: np.abs(value) if value.dtype == np.int64 else value for name, value in feeds.items()}
    changed, ctx = run_pass(pass_, graph, **context)
    assert changed, ctx.refusals
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    assert after.ByteSize() < before.ByteSize()
    text = ir.to_text(graph)
    again, _ = run_pass(pass_, graph, **context)
    assert not again and ir.to_text(graph) == text, "not idempotent"
    return snr(run(before, feeds)["y"], run(after, feeds)["y"])


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 40.0),
        ({"per_channel": False}, 36.0),
        ({"type": "int8", "block": 16}, 42.0),
        ({"type": "int4"}, 18.0),
        ({"type": "int4", "block": 16}, 20.0),
        ({"type": "fp8"}, 27.0),
        ({"type": "fp8", "per_channel": False}, 27.0),
        ({"type": "palette", "bits": 8}, 40.0),
        ({"type": "palette"}, 18.0),
        ({"type": "palette", "bits": 2}, 5.0),
    ],
    ids=str,
)
def test_a_layer_in_fewer_bits(case: str, options: dict[str, object], least: float) -> None:
    assert outputs_before_and_after(layer(case), QuantizeWeights(**options)) > least  # type: ignore[arg-type]


@pytest.mark.parametrize("type_", ["int8", "int4", "fp8", "palette"])
def test_zeros_stay_zeros(type_: str) -> None:
    values = weights([64, 40], 0.5)
    graph = layer("MatMul", values=values)
    run_pass(QuantizeWeights(type=type_), graph)  # type: ignore[arg-type]
    model = ir.to_proto(graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    eye = np.eye(64, dtype=np.float32)[None].repeat(1, 0)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    found = run(model, {"x": eye})["y"][0]
    assert (found[values == 0] == 0).all()
    assert snr(values, found) > 18


@pytest.mark.parametrize(
    ("name", "options"),
    [("int8 per channel", {}), ("int4 in blocks", {"type": "int4"}), ("a palette", {"type": "palette"})],
)
def test_golden(name: str, options: dict[str, object]) -> None:
    values = np.sin(np.arange(64 * 8, dtype=np.float32).reshape(64, 8) * 0.37)
    check_golden(QuantizeWeights(**options), layer("MatMul", values=values), name)  # type: ignore[arg-type]


def test_a_table_is_dequantized_row_by_row() -> None:
    graph = layer("Gather")
    run_pass(QuantizeWeights(), graph)
    assert [node.op for node in graph.nodes] == ["Gather", "DequantizeLinear"]


def test_a_table_for_core_ml_is_dequantized_where_it_is_stored() -> None:
    graph = layer("Gather")
    run_pass(QuantizeWeights(), graph, target="coreml")
    assert [node.op for node in graph.nodes] == ["DequantizeLinear", "Gather"]


@pytest.mark.parametrize(
    ("shape", "target", "is_stored"),
    [((64, 256), "coreml", True), ((64, 256), "onnx", False), ((512, 1), "coreml", False)],
)
def test_for_core_ml_a_table_that_is_added_is_a_weight_and_a_bias_is_not(
    shape: tuple[int, int], target: str, is_stored: bool
) -> None:
    whole = [shape[0], 256]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, whole) for name in ("x", "y"))
    table = numpy_helper.from_array(weights(list(shape)), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [table])
    added = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    run_pass(QuantizeWeights(), added, target=target)
    assert [node.op for node in added.nodes] == ["DequantizeLinear"] * is_stored + ["Add"]


def test_a_palette_for_core_ml_is_the_weight_itself_with_few_values() -> None:
    graph = layer("Conv")
    changed, _ = run_pass(QuantizeWeights(type="palette", bits=6), graph, target="coreml")
    assert changed and [node.op for node in graph.nodes] == ["Conv"]
    assert len(np.unique(graph.nodes[0].inputs[1].read())) <= 64
    again, _ = run_pass(QuantizeWeights(type="palette", bits=6), graph, target="coreml")
    assert not again


def test_for_tensorrt_the_zero_point_is_written() -> None:
    graph = layer("Conv")
    run_pass(QuantizeWeights(), graph, target="tensorrt")
    zero = graph.nodes[0].inputs[2].read()
    assert zero.dtype == np.int8 and zero.shape == (16,) and not zero.any()


def test_float8_is_the_nearest_of_e4m3_and_uses_all_of_its_range() -> None:
    values = np.float32([[448, -448, 3.1, 0.0], [44.8, 1, 2, -3]]).repeat(32, 0)
    graph = layer("Gemm", values=np.ascontiguousarray(np.pad(values, ((0, 0), (0, 36)))))
    run_pass(QuantizeWeights(type="fp8", per_channel=False), graph, target="tensorrt")
    stored, scale, zero = (tensor.read() for tensor in graph.nodes[0].inputs)
    assert stored.dtype == zero.dtype == "float8_e4m3fn" and scale == 1
    assert [float(value) for value in stored[0, :4]] == [448, -448, 3, 0]  # 3.1 lies between 3 and 3.25


def test_float16_weights_keep_their_type() -> None:
    graph = layer("Gemm", dtype=np.float16)
    check_pass(QuantizeWeights(), graph)
    assert graph.nodes[0].outputs[0].dtype == np.float16


def test_a_weight_of_few_values_keeps_them_all() -> None:
    values = RNG.choice(np.array([-0.5, 0, 0.25, 3], np.float32), size=(64, 40))
    assert outputs_before_and_after(layer("MatMul", values=values), QuantizeWeights(type="palette", bits=2)) > 200


def test_old_opsets_are_named_with_the_remedy() -> None:
    with pytest.raises(
        BadOption, match=r"int4 in blocks needs opset 21 and the model has 17; run convert-opset\{opset=21\}"
    ):
        run_pass(QuantizeWeights(type="int4"), layer("Conv", 17))
    with pytest.raises(BadOption, match=r"int8 per channel needs opset 13 .* convert-opset\{opset=13\}"):
        run_pass(QuantizeWeights(), layer("Conv", 11))
    with pytest.raises(BadOption, match=r"fp8 per channel needs opset 19 .* convert-opset\{opset=19\}"):
        run_pass(QuantizeWeights(type="fp8"), layer("Conv", 13))
    check_pass(QuantizeWeights(per_channel=False), layer("Conv", 11))
    check_pass(QuantizeWeights(type="palette"), layer("Conv", 11))


def test_options_that_contradict_each_other() -> None:
    for options in ({"bits": 4}, {"type": "palette", "bits": 9}, {"type": "palette", "block": 32}, {"block": 1},
                    {"type": "fp8", "block": 32}):  # fmt: skip
        with pytest.raises(ValueError):
            QuantizeWeights(**options)


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(BadOption, match=r"'decoder.*' matches no layer"):
        run_pass(QuantizeWeights(exclude=("decoder.*",)), layer("Conv"))


TWO = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[2, 64] x) => (float[2, 64] y) <float w = {0}, float v = {0}> {
        a = MatMul (x, w) b = Relu (a) y = MatMul (b, v) }"""


def two_layers(shared: bool = False) -> ir.Graph:
    graph = parse(TWO)
    one, other = (ir.Constant(name, weights([64, 64])) for name in "wv")
    first, _, second = graph.nodes
    first.name, second.name = "encoder.0", "encoder.1"
    first.inputs[1], second.inputs[1] = one, one if shared else other
    return graph


def test_layers_are_chosen_by_pattern() -> None:
    for pass_ in (QuantizeWeights(include=("encoder.1",)), QuantizeWeights(exclude=("w",)),
                  QuantizeWeights(include=("MatMul",), exclude=("*.0",))):  # fmt: skip
        graph = two_layers()
        check_pass(pass_, graph)
        assert [node.op for node in graph.nodes] == ["MatMul", "Relu", "DequantizeLinear", "MatMul"]


def test_a_shared_weight_is_stored_once_and_stays_if_one_layer_is_excluded() -> None:
    graph = two_layers(shared=True)
    check_pass(QuantizeWeights(), graph)
    assert [node.op for node in graph.nodes] == ["DequantizeLinear", "MatMul", "Relu", "MatMul"]
    check_pass(QuantizeWeights(exclude=("encoder.0",)), two_layers(shared=True), expect_change=False)


def test_small_weights_stay() -> None:
    empty = layer("MatMul", values=np.zeros((64, 0), np.float32))
    check_pass(QuantizeWeights(type="palette", smallest=0), empty, expect_change=False)
    check_pass(QuantizeWeights(smallest=1 << 20), layer("Conv"), expect_change=False)


def test_refusals() -> None:
    values = weights([64, 40])
    values[3, 4] = np.nan
    changed, ctx = run_pass(QuantizeWeights(), layer("MatMul", values=values))
    assert not changed and "NaN or infinities" in ctx.refusals[0].what
    graph = parse(TWO.replace("y = MatMul (b, v)", "y = Identity (b)").replace("float[2, 64] x", "float[2, 1] x"))
    graph.nodes[0].inputs[1] = ir.Constant("w", weights([1, 64]))
    check_refusal(QuantizeWeights(smallest=1, block=2), graph, "it takes 256 bytes, and would take 320")
    check_refusal(QuantizeWeights(), layer("Gemm", 18, dtype=np.float16), "scales of float16 need opset 19")
    graph = parse(TWO.replace("y = MatMul (b, v)", "y = Add (b, w)").replace("[2, 64]", "[64, 64]"))
    constant = ir.Constant("w", weights([64, 64]))
    graph.nodes[0].inputs[1] = graph.nodes[2].inputs[1] = constant
    check_refusal(QuantizeWeights(), graph, "Add reads it too")


def test_a_limit() -> None:
    graph = two_layers()
    _, ctx = run_pass(QuantizeWeights(), graph, limit=1)
    assert len(ctx.rewrites) == 1 and [node.op for node in graph.nodes].count("DequantizeLinear") == 1


def test_in_a_subgraph_and_in_constant_nodes() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 21]>
        g (float[2, 64] x, bool c) => (float[2, 64] y) <float w = {0}> {
            y = If (c) <then_branch = t () => (float[2, 64] u) { u = MatMul (x, w) },
                        else_branch = e () => (float[2, 64] z) { z = MatMul (x, w) }>
        }""")
    constant = ir.Constant("w", weights([64, 64]))
    for body in graph.nodes[0].subgraphs():
        body.nodes[0].inputs[1] = constant
    check_pass(QuantizeWeights(), graph)
    for body in graph.nodes[0].subgraphs():
        assert [node.op for node in body.nodes] == ["DequantizeLinear", "MatMul"]
    assert len({body.nodes[0].inputs[0] for body in graph.nodes[0].subgraphs()}) == 1
    graph = layer("Conv")
    made = ir.Variable("made", np.float32)
    node = ir.Node("Constant", "c", {"value": graph.nodes[0].inputs[1]}, [], [made])
    graph.nodes[0].inputs[1] = made
    graph.nodes.insert(0, node)
    check_pass(QuantizeWeights(), graph)
    assert [node.op for node in graph.nodes] == ["DequantizeLinear", "Conv"]


def test_lstm(tmp_path: Path) -> None:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=16)
    constants = [
        numpy_helper.from_array(weights(shape, 0), name) for name, shape in (("w", [1, 64, 8]), ("r", [1, 64, 16]))
    ]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, [5, 1, 8])],
                              [helper.make_tensor_value_info("y", 1, [5, 1, 1, 16])], constants)  # fmt: skip
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    assert outputs_before_and_after(model, QuantizeWeights()) > 35
