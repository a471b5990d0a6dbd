"""`quantize`: each rule of where Q/DQ go, on the smallest graph that shows it."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.legality import violations
from onnxopt.quantization.plan import Choices, plan
from tests.passes.quantize_models import model, node_of, pairs, parameters, quantize, read_by

CONV = "float[8,8,1,1] w, float[8] b"
LAYER = ["uint8", "int8", "int32"]


@pytest.mark.parametrize("target", ["onnx", "qnn"])
def test_nothing_stands_between_a_layer_and_its_relu(target: str) -> None:
    graph = model("c = Conv (x, w, b) r = Relu (c) y = Conv (r, w, b)", CONV)
    quantize(graph, target)
    behind = "Conv" if target == "onnx" else "Relu"  # whose integers end at 0 by themselves
    assert [before for before, _ in pairs(graph)] == ["input", behind, "Conv"]
    assert parameters(node_of(graph, "Conv", 1).inputs[0])[1] == 0


def test_a_clip_goes_where_the_integers_end_at_its_limits() -> None:
    graph = model(
        "c = Conv (x, w, b) r = Clip (c, low, high) y = Conv (r, w, b)",
        f"{CONV}, float low = {{0}}, float high = {{0.5}}",
    )
    quantize(graph)
    assert not [node for node in graph.nodes if node.op == "Clip"]


def test_a_clip_stays_where_the_integers_reach_further() -> None:
    body = "c = Conv (x, w, b) r = Clip (c, low, high) d = Conv (x, w, b) k = Concat <axis = 1> (r, d) y = Conv (k, v)"
    graph = model(body, f"{CONV}, float[8,16,1,1] v, float low = {{0}}, float high = {{0.01}}")
    quantize(graph)
    assert node_of(graph, "Clip")


def test_a_clip_without_zero_is_an_operator_of_its_own() -> None:
    graph = model("c = Conv (x, w, b) r = Clip (c, low) y = Conv (r, w, b)", f"{CONV}, float low = {{1}}")
    quantize(graph)
    assert [before for before, _ in pairs(graph)] == ["input", "Conv", "Clip", "Conv"]


def test_a_layer_that_others_read_too_is_quantized_before_its_relu() -> None:
    graph = model("c = Conv (x, w, b) r = Relu (c) d = Conv (r, w, b) y = Add (c, d)", CONV)
    quantize(graph)
    assert [before for before, _ in pairs(graph)] == ["input", "Conv", "Relu", "Conv"]


def test_one_pair_for_all_readers() -> None:
    graph = model("c = Conv (x, w, b) d = Conv (x, w, b) k = Concat <axis = 1> (c, d) y = Relu (k)", CONV)
    quantize(graph)
    assert [before for before, _ in pairs(graph)].count("input") == 1


@pytest.mark.parametrize(
    "move",
    [
        "MaxPool <kernel_shape = [2, 2]> (c)",
        "Transpose <perm = [0, 1, 3, 2]> (c)",
        "Reshape (c, shape)",
        "Slice (c, start, end)",
        'Resize <mode = "nearest"> (c, , sizes)',
        "Concat <axis = 2> (c, c)",
        "Identity (c)",
    ],
)
@pytest.mark.parametrize("target", ["onnx", "qnn"])
def test_both_sides_of_what_moves_values_share_one_encoding(move: str, target: str) -> None:
    constants = "int64[4] shape = {1, 8, 4, 9}, int64[4] start = {0, 0, 0, 0}, int64[4] end = {1, 8, 5, 5}"
    body = f"c = Conv (x, w, b) m = {move} y = Conv (m, w, b)"
    graph = model(body, f"{CONV}, {constants}, float[4] sizes = {{1, 1, 2, 2}}")
    quantize(graph, target)
    moved = node_of(graph, move.split()[0])
    if move.startswith("Resize") and target == "qnn":
        return
    assert parameters(moved.inputs[0])[0] == parameters(node_of(graph, "Conv", 1).inputs[0])[0]


def test_an_interpolating_resize_has_an_encoding_of_its_own() -> None:
    graph = model(
        'c = Conv (x, w, b) m = Resize <mode = "linear"> (c, , s) y = Conv (m, w, b)',
        f"{CONV}, float[4] s = {{1, 1, 2, 2}}",
    )
    quantize(graph)
    assert parameters(node_of(graph, "Resize").inputs[0])[0] != parameters(node_of(graph, "Conv", 1).inputs[0])[0]


def test_what_is_moved_towards_floats_is_not_quantized_again() -> None:
    graph = model("c = Conv (x, w, b) m = MaxPool <kernel_shape = [2, 2]> (c) y = Exp (m)", CONV)
    quantize(graph)
    assert [before for before, _ in pairs(graph)] == ["input", "Conv"]


def test_an_add_between_layers_is_quantized() -> None:
    graph = model("c = Conv (x, w, b) d = Conv (c, w, b) a = Add (c, d) y = Conv (a, w, b)", CONV)
    quantize(graph)
    assert read_by(graph, "Add") == [["uint8", "uint8"]]
    assert [before for before, _ in pairs(graph)] == ["input", "Conv", "Conv", "Add", "Conv"]


def test_an_add_that_ends_in_float_stays_float() -> None:
    graph = model("c = Conv (x, w, b) y = Add (x, c)", CONV)
    quantize(graph)
    assert read_by(graph, "Add") == [["float", "uint8"]]
    assert [before for before, _ in pairs(graph)] == ["input", "Conv"]


def test_operators_upon_floats_stay_float() -> None:
    graph = model("e = Exp (x) p = AveragePool <kernel_shape = [2, 2]> (e) y = Conv (p, w, b)", CONV)
    quantize(graph)
    assert [before for before, _ in pairs(graph)] == ["AveragePool", "Conv"]


def test_pools_whose_integer_kernel_is_slow_stay_float() -> None:
    """benchmarks/int8_kernels.py has the figures."""
    pool = "<kernel_shape = [2, 2]>"
    tail = "g = GlobalAveragePool (m) y = Conv (g, w, b)"
    graph = model(f"c = Conv (x, w, b) h = HardSwish (c) m = MaxPool {pool} (h) {tail}", CONV)
    quantize(graph)
    assert read_by(graph, "MaxPool") == read_by(graph, "GlobalAveragePool") == [["float"]]
    for before in ("h = Relu (c)", "a = Relu (c) h = Add (a, c)"):
        graph = model(f"c = Conv (x, w, b) {before} m = MaxPool {pool} (h) {tail}", CONV)
        quantize(graph)
        assert read_by(graph, "MaxPool") == [["uint8"]]
    graph = model(f"c = Conv (x, w, b) h = HardSwish (c) m = AveragePool {pool} (h) y = Conv (m, w, b)", CONV)
    quantize(graph)
    assert read_by(graph, "AveragePool") == [["float"]]
    graph = model(f"c = Conv (x, w, b) m = AveragePool {pool} (c) {tail}", CONV)
    quantize(graph)
    assert read_by(graph, "GlobalAveragePool") == [["float"]], "a Q behind the AveragePool would make integers of it"


def test_an_add_behind_an_activation_without_integer_kernel_is_quantized() -> None:
    graph = model("c = Conv (x, w, b) h = HardSwish (c) a = Add (c, h) y = Conv (a, w, b)", CONV)
    quantize(graph)
    assert read_by(graph, "Add") == [["uint8", "uint8"]]


def test_a_constant_operand_is_stored_as_the_activations_are() -> None:
    graph = model("c = Conv (x, w, b) a = Add (c, k) y = Conv (a, w, b)", f"{CONV}, float[8,1,1] k")
    quantize(graph)
    assert read_by(graph, "Add") == [["uint8", "uint8"]]


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_products_give_out_floats(op: str) -> None:
    graph = model(f"f = Flatten (x) g = {op} (f, m) y = Softmax (g)", "float[288,4] m", rank=2)
    quantize(graph)
    assert [before for before, _ in pairs(graph)] == ["Flatten"] and read_by(graph, op) == [["uint8", "int8"]]


def test_a_weight_may_come_first() -> None:
    graph = model("y = MatMul (m, x)", "float[4,6] m")
    quantize(graph)
    assert read_by(graph, "MatMul") == [["int8", "uint8"]]


def test_weights_in_constant_nodes() -> None:
    graph = model(
        "m = Constant <value = float[6,2] {1,2,3,4,5,6,7,8,9,10,11,12}> () i = Identity (m) y = MatMul (x, i)"
    )
    quantize(graph)
    assert read_by(graph, "MatMul") == [["uint8", "int8"]]
    assert not [node for node in graph.nodes if node.op in ("Constant", "Identity")]


@pytest.mark.parametrize(
    ("target", "read"), [("onnx", ["float"] * 2), ("qnn", ["uint8"] * 2), ("tensorrt", ["float"] * 2)]
)
def test_products_of_two_activations(target: str, read: list[str]) -> None:
    graph = model("t = Transpose <perm = [0, 1, 3, 2]> (x) y = MatMul (x, t)")
    quantize(graph, target)
    assert read_by(graph, "MatMul") == [read]


def test_a_graph_output_that_is_read_too_keeps_its_name_and_type() -> None:
    graph = model("c = Conv (x, w, b) e = Exp (c) y = Conv (e, w, b)", CONV, output="e c y")
    quantize(graph)
    floats = [tensor.producer.op for tensor in graph.outputs]
    assert [tensor.name for tensor in graph.outputs] == ["e", "c", "y"]
    assert floats == ["Exp", "DequantizeLinear", "DequantizeLinear"]


def test_wide_activations_of_single_nodes() -> None:
    graph = model("[first] c = Conv (x, w, b) [second] d = Conv (c, w, b) y = Conv (d, w, b)", CONV, opset=21)
    quantize(graph, "qnn", wide=("second",))
    assert read_by(graph, "Conv") == [LAYER, ["uint16", "int8", "int32"], LAYER]
    assert [kind for _, kind in pairs(graph)] == ["uint8", "uint8", "uint16", "uint16", "uint8", "uint8"]
    assert not violations(graph, "qnn")


def test_requests_name_each_tensor_once() -> None:
    graph = model("c = Conv (x, w, b) m = MaxPool <kernel_shape = [2, 2]> (c) y = Conv (m, w, b)", CONV)
    planned = plan(graph, quantization_rules(None), Choices(), Context())
    assert [request.tensor for request in planned.requests] == ["x", "c", "y"]


# tensorrt ---------------------------------------------------------------------------------------------------------


def test_tensorrt_quantizes_the_inputs_of_layers_only() -> None:
    graph = model("c = Conv (x, w, b) r = Relu (c) y = Conv (r, w, b)", CONV)
    quantize(graph, "tensorrt")
    assert read_by(graph, "Conv") == [["int8", "int8", "float"]] * 2
    assert [before for before, _ in pairs(graph)] == ["input", "Relu"]
    scale, zero = parameters(node_of(graph, "Conv").inputs[1])
    assert scale.shape == zero.shape == (8,) and not zero.any()


def test_tensorrt_quantizes_the_skip_branch_only() -> None:
    graph = model("r = Relu (x) c = Conv (r, w, b) a = Add (c, r) y = Relu (a)", CONV)
    quantize(graph, "tensorrt")
    assert read_by(graph, "Add") == [["float", "int8"]]


def test_tensorrt_leaves_an_add_of_no_layer_alone() -> None:
    graph = model("e = Exp (x) a = Add (e, x) y = Conv (a, w, b)", CONV)
    quantize(graph, "tensorrt")
    assert read_by(graph, "Add") == [["float", "float"]]


def test_tensorrt_leaves_the_residual_of_a_product_in_float() -> None:
    graph = model("r = Relu (x) p = MatMul (r, m) a = Add (p, r) y = Relu (a)", "float[6,6] m")
    quantize(graph, "tensorrt")
    assert read_by(graph, "MatMul") == [["int8", "int8"]] and read_by(graph, "Add") == [["float", "float"]]


def test_tensorrt_has_one_scale_for_a_concat() -> None:
    body = "c = Conv (x, w, b) e = Relu (c) d = Conv (e, w, b) k = Concat <axis = 1> (e, d) y = Conv (k, v)"
    graph = model(body, f"{CONV}, float[8,16,1,1] v")
    quantize(graph, "tensorrt")
    concat = node_of(graph, "Concat")
    scales = {float(parameters(tensor)[0]) for tensor in (*concat.inputs, node_of(graph, "Conv", 2).inputs[0])}
    assert len(scales) == 1 and not violations(graph, "tensorrt")


@pytest.mark.parametrize(("channels", "is_float"), [(3, True), (4, True), (5, False)])
def test_tensorrt_leaves_first_layers_of_few_channels(channels: int, is_float: bool) -> None:
    graph = model("y = Conv (x, w)", f"float[8,{channels},1,1] w", data=f"float[1,{channels},4,4] x")
    ctx = quantize(graph, "tensorrt")
    assert (read_by(graph, "Conv") == [["float"] * 2]) == is_float
    assert not is_float or "input channels, too few" in ctx.refusals[0].what


@pytest.mark.parametrize(("rows", "is_float"), [(1, True), (2, False)])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_tensorrt_leaves_products_of_one_row(rows: int, is_float: bool, op: str) -> None:
    graph = model(f"y = {op} (x, m)", "float[8,4] m", data=f"float[{rows},8] x", rank=2)
    ctx = quantize(graph, "tensorrt")
    assert (read_by(graph, op) == [["float"] * 2]) == is_float
    assert not is_float or "single row" in ctx.refusals[0].what


# qnn --------------------------------------------------------------------------------------------------------------


def test_qnn_encodes_everything_it_computes() -> None:
    graph = model(
        "e = Sigmoid (x) s = Sub (x, e) m = Softmax (s) y = Reshape (m, shape)", "int64[4] shape = {1, 8, 4, 9}"
    )
    quantize(graph, "qnn")
    for op in ("Sigmoid", "Sub", "Softmax", "Reshape"):
        assert set(read_by(graph, op)[0]) <= {"uint8", "float"} and read_by(graph, op)[0][0] == "uint8"
    assert not violations(graph, "qnn")


def test_qnn_has_weights_of_normalizations_per_tensor() -> None:
    graph = model("y = LayerNormalization <axis = -1> (x, g, h)", "float[6] g, float[6] h")
    quantize(graph, "qnn")
    assert read_by(graph, "LayerNormalization") == [LAYER]
    assert parameters(node_of(graph, "LayerNormalization").inputs[1])[0].shape == ()


def test_qnn_keeps_the_bound_of_a_relu_beside_negative_values() -> None:
    graph = model("r = Relu (x) k = Concat <axis = 1> (r, x) y = Exp (k)")
    quantize(graph, "qnn")
    relu, other = node_of(graph, "Concat").inputs
    assert parameters(relu)[1] == 0 and parameters(other)[1] != 0
    assert not violations(graph, "qnn")


def test_masks_are_cut_off() -> None:
    graph = model("m = Greater (x, z) a = Where (m, x, inf) y = Softmax (a)", "float z = {0}, float inf = {-3.4e38}")
    ctx = quantize(graph, "qnn")
    assert "'inf' reaches from -3.4e+38 to 0, as a mask does: it is cut off at 100" in " ".join(ctx.warnings)
    assert parameters(node_of(graph, "Softmax").inputs[0])[0] < 0.5


def test_qnn_takes_16_bits() -> None:
    graph = model("c = Conv (x, w, b) y = Gelu (c)", CONV, opset=21)
    quantize(graph, "qnn", activations="uint16")
    assert read_by(graph, "Conv") == [["uint16", "int8", "int32"]] and not violations(graph, "qnn")


# coreml -----------------------------------------------------------------------------------------------------------


def test_coreml_is_symmetric_upon_layers() -> None:
    graph = model("c = Conv (x, w, b) a = Add (c, x) y = Conv (a, w, b)", CONV)
    quantize(graph, "coreml")
    assert read_by(graph, "Conv") == [["int8", "int8", "float"]] * 2 and read_by(graph, "Add") == [["float"] * 2]
    assert parameters(node_of(graph, "Conv").inputs[0])[1] == np.int8(0) and not violations(graph, "coreml")
