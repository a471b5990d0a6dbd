"""`quantize-dynamic`: layers in integers without calibration, near the float ones, as onnxruntime computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.quantize_dynamic import QuantizeDynamic
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, random_feeds, run, run_pass

PASS = QuantizeDynamic()
RNG = np.random.default_rng(0)
HEAD = '<ir_version: 10, opset_import: ["" : 17, "com.microsoft" : 1]>'


def model(body: str, inputs: str, weights: dict[str, list[int]], head: str = HEAD) -> ir.Graph:
    """A model with normally distributed weights, of which a fifth is 0."""
    proto = onnx.parser.parse_model(f"{head} g ({inputs}) => (float y) {{ {body} }}")
    output = proto.graph.output[0].type.tensor_type
    output.ClearField("shape")
    if "com.microsoft" in body:  # of which onnx infers no shapes
        output.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_param=name) for name in "abc")
    for name, shape in weights.items():
        values = RNG.normal(size=shape).astype(np.float32)
        values[RNG.random(shape) < 0.2] = 0
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def snr(graph: ir.Graph, pass_: QuantizeDynamic = PASS) -> float:
    """Run the pass; how near its outputs are, in dB."""
    before = ir.to_proto(graph.copy())
    changed, ctx = run_pass(pass_, graph)
    assert changed, ctx.refusals
    after = ir.to_proto(graph)
    onnx.checker.check_model(after)
    text = ir.to_text(graph)
    again, _ = run_pass(pass_, graph)
    assert not again and ir.to_text(graph) == text, "not idempotent"
    feeds = random_feeds(before)
    expected, found = run(before, feeds)["y"].astype(np.float64), run(after, feeds)["y"]
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


def fused(graph: ir.Graph, path: Path) -> list[str]:
    """The operators that onnxruntime makes of it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path / "optimized.onnx")
    ort.InferenceSession(ir.to_proto(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


MATMUL = ("[m] y = MatMul (x, w)", "float[2, 3, 64] x", {"w": [64, 40]})
LSTM = {"w": [1, 64, 8], "r": [1, 64, 16], "b": [1, 128]}


def test_golden() -> None:
    graph = model(
        "a = MatMul (x, w) b = Gemm <transB = 1, alpha = 0.5> (x, v, c) y = Add (a, b)", "float[3, 64] x",
        {"w": [64, 8], "v": [8, 64], "c": [8]},
    )  # fmt: skip
    check_golden(PASS, graph, "a MatMul and a Gemm of one input")


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("body", "inputs", "weights"),
    [
        MATMUL,
        ("y = MatMul (x, w)", "float[64] x", {"w": [64, 40]}),
        ("y = Gemm (x, w)", "float[3, 64] x", {"w": [64, 40]}),
        ("y = Gemm <transB = 1, alpha = -0.5, beta = 2.0> (x, w, c)", "float[3, 64] x", {"w": [40, 64], "c": [40]}),
        ("y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)", "float[1, 8, 9, 9] x",
         {"w": [16, 8, 3, 3], "b": [16]}),
        ("y = Conv <group = 8> (x, w)", "float[1, 8, 9, 9] x", {"w": [16, 1, 3, 3]}),
        ("y = LSTM <hidden_size = 16> (x, w, r, b)", "float[5, 2, 8] x", LSTM),
        ("y = LSTM <hidden_size = 16, direction = \"bidirectional\"> (x, w, r)", "float[5, 2, 8] x",
         {"w": [2, 64, 8], "r": [2, 64, 16]}),
        ("y = com.microsoft.Attention <num_heads = 2> (x, w, b)", "float[1, 6, 32] x", {"w": [32, 96], "b": [96]}),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value else "",
)  # fmt: skip
def test_near_the_float_layer(body: str, inputs: str, weights: dict[str, list[int]], per_channel: bool) -> None:
    every = QuantizeDynamic(("Attention", "Conv", "Gemm", "LSTM", "MatMul"), per_channel, smallest=0)
    least = 15 if "Attention" in body else 28  # its softmax of large random products magnifies what is lost
    assert snr(model(body, inputs, weights), every) > least


def test_onnxruntime_fuses_what_is_written(tmp_path: Path) -> None:
    graph = model("m = MatMul (x, w) a = Add (m, b) r = Relu (a) y = MatMul (r, v)", "float[4, 64] x",
                  {"w": [64, 40], "b": [40], "v": [40, 30]})  # fmt: skip
    run_pass(PASS, graph)
    assert fused(graph, tmp_path) == ["DynamicQuantizeMatMul", "Relu", "DynamicQuantizeMatMul"]


def test_what_several_layers_read_is_quantized_once() -> None:
    body = "a = MatMul (x, w) b = MatMul (x, w) c = MatMul (x, v) d = Add (a, b) y = Add (d, c)"
    graph = model(body, "float[4, 64] x", {"w": [64, 40], "v": [64, 40]})
    run_pass(PASS, graph)
    ops = [node.op for node in graph.nodes]
    assert ops.count("DynamicQuantizeLinear") == 1 and ops.count("MatMulInteger") == 3
    assert len({node.inputs[1] for node in graph.nodes if node.op == "MatMulInteger"}) == 2


def test_zeros_stay_zeros() -> None:
    graph = model(*MATMUL)
    before = graph.nodes[0].inputs[1].read()
    run_pass(PASS, graph)
    stored = next(node for node in graph.nodes if node.op == "MatMulInteger").inputs[1].read()
    assert stored.dtype == np.int8 and (stored[before == 0] == 0).all()


def test_the_model_imports_onnxruntimes_domain() -> None:
    head = '<ir_version: 10, opset_import: ["" : 17]>'
    graph = model("y = LSTM <hidden_size = 16> (x, w, r, b)", "float[5, 2, 8] x", LSTM, head)
    assert snr(graph) > 28
    assert {entry.domain: entry.version for entry in ir.to_proto(graph).opset_import} == {"": 17, "com.microsoft": 1}


def test_in_a_subgraph() -> None:
    graph = model("""y = If (c) <then_branch = t () => (float[2, 40] u) { u = MatMul (x, w) },
                                else_branch = e () => (float[2, 40] v) { v = MatMul (x, w) }>""",
                  "float[2, 64] x, bool c", {"w": [64, 40]})  # fmt: skip
    assert snr(graph) > 28
    for body in graph.nodes[0].subgraphs():
        assert [node.op for node in body.nodes][:2] == ["DynamicQuantizeLinear", "MatMulInteger"]


def test_a_layer_that_gives_an_output_in_the_middle() -> None:
    graph = parse(f"{HEAD} g (float[2, 64] x) => (float[2, 64] m, float[2, 64] y) <float w = {{0}}> "
                  "{ m = MatMul (x, w) y = Relu (m) }")  # fmt: skip
    graph.nodes[0].inputs[1] = ir.Constant("w", RNG.normal(size=(64, 64)).astype(np.float32))
    check_pass(PASS, graph)


def test_layers_are_chosen() -> None:
    check_pass(QuantizeDynamic(exclude=("m",)), model(*MATMUL), expect_change=False)
    check_pass(QuantizeDynamic(ops=("Gemm",)), model(*MATMUL), expect_change=False)
    check_pass(QuantizeDynamic(smallest=1 << 20), model(*MATMUL), expect_change=False)
    with pytest.raises(BadOption, match="'decoder' matches no layer"):
        run_pass(QuantizeDynamic(include=("decoder",)), model(*MATMUL))


def test_refusals() -> None:
    check_refusal(PASS, model("y = MatMul (x, w)", "float[2, 3, 64] x", {"w": [2, 64, 40]}), "of rank 3")
    check_refusal(PASS, model("y = Gemm <transA = 1> (x, w)", "float[64, 3] x", {"w": [64, 40]}), "is transposed")
    check_refusal(PASS, model("y = Gemm <beta = 2.0> (x, w, c)", "float[3, 64] x, float[40] c", {"w": [64, 40]}),
                  "multiplied by 2")  # fmt: skip
    graph = model(*MATMUL)
    broken = np.full((64, 40), np.inf, np.float32)
    graph.nodes[0].inputs[1] = ir.Constant("w", broken)
    changed, ctx = run_pass(PASS, graph)
    assert not changed and "NaN or infinities" in ctx.refusals[0].what
    nothing = QuantizeDynamic(smallest=0)
    check_pass(nothing, model("y = MatMul (x, w)", "float[3, 0] x", {"w": [0, 4]}), expect_change=False)
    check_pass(PASS, model("y = MatMul (x, x)", "float[64, 64] x", {}), expect_change=False)


def test_other_targets_and_old_opsets_are_errors() -> None:
    with pytest.raises(BadOption, match="tensorrt takes no DynamicQuantizeLinear; use quantize"):
        run_pass(PASS, model(*MATMUL), target="tensorrt")
    old = HEAD.replace("17", "10")
    with pytest.raises(BadOption, match=r"needs opset 11 and the model has 10; run convert-opset\{opset=11\}"):
        run_pass(PASS, model(*MATMUL, head=old))


def test_a_limit() -> None:
    graph = model("m = MatMul (x, w) y = MatMul (m, v)", "float[4, 64] x", {"w": [64, 64], "v": [64, 64]})
    _, ctx = run_pass(PASS, graph, limit=1)
    assert len(ctx.rewrites) == 1 and [node.op for node in graph.nodes].count("MatMul") == 1


def test_in_a_function() -> None:
    weights = helper.make_tensor("value", 1, [64, 40], RNG.normal(size=(64, 40)).astype(np.float32))
    nodes = [helper.make_node("Constant", [], ["w"], value=weights), helper.make_node("MatMul", ["a", "w"], ["b"])]
    function = helper.make_function("local", "Layer", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    graph = helper.make_graph([helper.make_node("Layer", ["x"], ["y"], domain="local")], "g",
                              [helper.make_tensor_value_info("x", 1, [3, 64])],
                              [helper.make_tensor_value_info("y", 1, [3, 40])])  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    proto = helper.make_model(graph, functions=[function], opset_imports=imports, ir_version=10)
    assert snr(ir.from_proto(proto)) > 28
