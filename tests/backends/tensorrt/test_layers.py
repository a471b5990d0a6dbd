"""What the builder's log tells of an engine: its layers, and how many MACs of the model run in which precision."""

import importlib.util
import io
import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from rich.console import Console

from onnxopt import ir
from onnxopt.backends.tensorrt import precisions
from onnxopt.backends.tensorrt.building import attempt
from onnxopt.backends.tensorrt.layers import layers_of
from onnxopt.backends.tensorrt.wanted import Profile, Wanted
from onnxopt.report.artifact import artifact_view

needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed: pip install onnxopt[test]"
)
ODD = "a, LayerType: b\n{ Name: 'x' }, [1]"
"""A name of a node that holds what stands between the fields of a record."""


def weights(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def integers(*shape):
    return np.random.default_rng(0).integers(-127, 127, shape).astype(np.int8)


def model(body, inputs, outputs, opset=21, **initializers):
    text = f'<ir_version: 10, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    found = parser.parse_model(text)
    found.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in initializers.items())
    return found


def mixed():
    """Convolutions of one input: int8, quantized data alone, quantized weights alone, float; then a product."""
    found = model(
        """
        q = QuantizeLinear(x, s, z)
        [dx] d = DequantizeLinear(q, s, z)
        wd = DequantizeLinear<axis = 0>(w8, ws, wz)
        [int8] a = Conv(d, wd)
        [data_alone] b = Conv(d, wf)
        [weights_alone] c = Conv(x, wd)
        [odd] e = Conv(x, wf2)
        [twice] f = Relu(e)
        ab = Add(a, b)
        cf = Add(c, f)
        [twice] y = MatMul(ab, cf)
        """,
        "float[1, 32, 16, 16] x",
        "float[1, 64, 14, 14] y",
        s=np.float32(0.02),
        z=np.int8(0),
        ws=np.full(64, 0.01, np.float32),
        wz=np.zeros(64, np.int8),
        w8=integers(64, 32, 3, 3),
        wf=weights(64, 32, 3, 3),
        wf2=weights(64, 32, 3, 3) / 2,
    )
    next(node for node in found.graph.node if node.name == "odd").name = ODD
    return found


@pytest.fixture(scope="module")
def built():
    """The graph, and the log of the builder."""
    done = attempt(mixed())
    assert done.ok, done.why
    return ir.from_proto(mixed()), done.log


CONV = 64 * 14 * 14 * 32 * 9
PRODUCT = 64 * 14 * 14 * 14


@needs_builder
def test_every_mac_is_in_one_precision(built):
    graph, log = built
    facts = layers_of(log).facts(graph)["precisions"]
    assert facts["macs"] == 4 * CONV + PRODUCT == ir.costs(graph).macs
    assert {name: (found["macs"], found["nodes"]) for name, found in facts["by_precision"].items()} == {
        "fp32": (3 * CONV + PRODUCT, 4),
        "int8": (CONV, 1),
    }
    assert sum(found["share"] for found in facts["by_precision"].values()) == pytest.approx(1)
    assert facts["unknown"] == [] and facts["uncounted"] == {}


@needs_builder
def test_what_fell_back_is_named_and_weights_alone_are_no_fault(built):
    graph, log = built
    facts = layers_of(log).facts(graph)["precisions"]
    told = [(each["node"], each["operator"], each["macs"], each["precision"]) for each in facts["fell_back"]]
    assert told == [("data_alone", "Conv", CONV, "fp32")]
    assert [each["node"] for each in facts["weights_only"]] == ["weights_alone"]
    assert precisions.notes(facts) == (
        "1 node with quantized data that the builder runs in float all the same: 'data_alone'",
    )


@needs_builder
def test_layers_have_types_shapes_and_the_nodes_that_they_come_from(built):
    graph, log = built
    report = layers_of(log)
    assert report.unread == 0 and report.weight_bytes > 64 * 32 * 9
    (int8,) = (layer for layer in report.layers if "int8" in layer.onnx_nodes and layer.type == "correlation")
    assert [(tensor.dtype, tensor.shape) for tensor in int8.inputs] == [("int8", (1, 32, 16, 16))]
    assert ("int8", (64, 32, 3, 3)) in [(tensor.dtype, tensor.shape) for tensor in int8.constants]
    assert "dx" in int8.onnx_nodes
    assert any(ODD in layer.onnx_nodes for layer in report.layers)
    assert json.loads(json.dumps(report.facts(graph)))["layers"][0].keys() >= {"name", "type", "inputs", "onnx_nodes"}


@needs_builder
def test_a_layer_that_is_not_told_of_is_unknown_and_not_guessed(built):
    graph, log = built
    kept = "\n".join(line for line in log.split("\n") if "[ONNX Layer: int8]" not in line or "LayerType" not in line)
    facts = layers_of(kept).facts(graph)["precisions"]
    assert [(each["node"], each["macs"]) for each in facts["unknown"]] == [("int8", CONV)]
    assert facts["by_precision"]["unknown"]["share"] == pytest.approx(CONV / (4 * CONV + PRODUCT))
    assert precisions.notes(facts)[-1] == "1 node whose precision the builder does not tell"


@needs_builder
def test_a_dynamic_batch_is_counted_at_the_optimum_of_the_profile():
    graph = ir.from_proto(
        model(
            "y = Conv(x, w)", "float16[N, 8, 10, 10] x", "float16[N, 16, 8, 8] y", w=weights(16, 8, 3, 3).astype("f2")
        )
    )
    shapes = {"x": Profile((1, 8, 10, 10), (4, 8, 10, 10), (8, 8, 10, 10))}
    report = layers_of(attempt(graph, Wanted(profiles=shapes)).log)
    facts = report.facts(graph)["precisions"]
    assert facts["by_precision"] == {"fp16": {"macs": 4 * 16 * 64 * 72, "share": 1.0, "nodes": 1}}
    assert facts["at"] == {"x": [4, 8, 10, 10]}
    assert any(tensor.shape[0] == -1 for layer in report.layers for tensor in layer.inputs)


@needs_builder
def test_a_recurrent_node_which_no_layer_names_is_found_among_the_products_that_name_nothing():
    graph = ir.from_proto(
        model(
            "h, last, cell = LSTM<hidden_size = 16>(x, w, r)",
            "float[5, 2, 8] x",
            "float[5, 1, 2, 16] h",
            w=weights(1, 64, 8),
            r=weights(1, 64, 16),
        )
    )
    facts = layers_of(attempt(graph).log).facts(graph)["precisions"]
    assert facts["by_precision"] == {"fp32": {"macs": 5 * 2 * 64 * 24, "share": 1.0, "nodes": 1}}


@needs_builder
def test_nodes_of_functions_and_branches_are_found_by_their_own_names():
    text = """<ir_version: 9, opset_import: ["": 17, "l": 1]> g (float[8, 16] x, bool c) => (float[8, 16] y) {
        a = l.f (x, w)
        b = l.f (a, w)
        y = If (c) <then_branch = t () => (float[8, 16] t) { t = MatMul(b, w2) },
                    else_branch = e () => (float[8, 16] e) { s = MatMul(b, w) e = MatMul(s, w2) }>
    }
    <domain: "l", opset_import: ["": 17]> f (p, q) => (o) { m = MatMul(p, q) o = Relu(m) }"""
    found = parser.parse_model(text)
    found.graph.initializer.extend(numpy_helper.from_array(weights(16, 16), name) for name in ("w", "w2"))
    graph = ir.from_proto(found)
    facts = layers_of(attempt(graph).log).facts(graph)["precisions"]
    assert facts["by_precision"] == {"fp32": {"macs": 4 * 8 * 16 * 16, "share": 1.0, "nodes": 3}}
    assert not any(node.name for node in ir.every_node(graph))  # names are given to a copy


@needs_builder
def test_four_bits_are_of_weights_alone_and_compute_in_half():
    found = model("d = DequantizeLinear<axis = 0, block_size = 32>(w, s) y = MatMul(x, d)",
                  "float16[32, 128] x", "float16[32, 256] y", s=np.full((4, 256), 0.01, np.float16))  # fmt: skip
    values = np.random.default_rng(0).integers(-7, 7, 128 * 256)
    found.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, (128, 256), values))
    graph = ir.from_proto(found)
    facts = layers_of(attempt(graph).log).facts(graph)["precisions"]
    assert facts["by_precision"]["fp16"]["share"] == 1 and facts["fell_back"] == []
    assert [each["operator"] for each in facts["weights_only"]] == ["MatMul"]


def record(name, kind, inputs="", constants="", metadata="", outputs=""):
    lists = f"Inputs: [{inputs}], Constants: [{constants}], Outputs: [{outputs}]"
    return f"Name: {name}, LayerType: {kind}, {lists}, TacticName: , StreamId: 0, Metadata: {metadata}"


def tensor(name, dtype, *shape):
    numbers = ",".join(map(str, shape))
    strides = f"Strides: [{numbers}], StrideOrder: [{numbers}]"
    return f" {{ Name: {name}, Dimensions: [{numbers}], {strides}, Datatype: {dtype}, Format: (Linear) Row major }}"


def log_of(*records):
    return "VERBOSE Total Weights Memory: 12 bytes\nVERBOSE Layers:\n" + "\n".join(records) + "\n\nI/O Tensors:\n"


@pytest.mark.parametrize(
    "name", ["a, b", "a]b[", "{a}", '"a"', "a }, b", "a], b", "Name: a", ODD, "(Unnamed Layer* 3)"]
)
def test_names_may_hold_what_separates_fields(name):
    text = log_of(
        record(name, "gemm", tensor(name, "Half", 2, -1), "", f"[ONNX Layer: {name}]\x1f[ONNX Layer: b]"),
        record("next", "kgen", tensor("t", "Int8", 1) + "," + tensor(name, "Float")),
    )
    first, second = layers_of(text).layers
    assert (first.name, first.type, first.onnx_nodes) == (name, "gemm", (name, "b"))
    assert [(each.name, each.dtype, each.shape) for each in first.inputs] == [(name, "float16", (2, -1))]
    assert [(each.name, each.dtype, each.shape) for each in second.inputs] == [
        ("t", "int8", (1,)),
        (name, "float32", ()),
    ]


def test_the_older_form_without_a_datatype_is_read():
    text = (
        "Layers:\nName: c, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, Dimensions: [1,8], "
        "Format/Datatype: Row major linear FP16 format }], Outputs: [ { Name: y, Location: Device, Dimensions: [1,8], "
        "Format/Datatype: Two wide channel vectorized INT8 }], ParameterType: Convolution, Kernel: [3,3], "
        "Metadata: [ONNX Layer: c][ONNX Layer: relu]"
    )
    (layer,) = layers_of(text).layers
    assert (layer.inputs[0].dtype, layer.outputs[0].dtype, layer.onnx_nodes) == ("float16", "int8", ("c", "relu"))


def test_records_of_no_known_form_are_counted_and_the_others_read():
    report = layers_of(log_of("Name: a, Something: new", record("b", "gemm"), "Name: c, LayerType: d, Inputs: [ { ?"))
    assert [layer.name for layer in report.layers] == ["b"] and report.unread == 2
    assert report.facts(ir.from_proto(model("y = Relu(x)", "float[1] x", "float[1] y")))["layers_not_read"] == 2


def test_a_log_that_says_nothing_leaves_all_unknown():
    graph = ir.from_proto(model("y = MatMul(x, w)", "float[2, 4] x", "float[2, 3] y", w=weights(4, 3)))
    facts = layers_of("ERROR it failed").facts(graph)
    assert (facts["weight_memory"], facts["layers"]) == (None, [])
    assert facts["precisions"]["by_precision"] == {"unknown": {"macs": 24, "share": 1.0, "nodes": 1}}
    assert "does not say where it went" in facts["precisions"]["unknown"][0]["why"]


def test_the_worst_of_several_profiles_counts():
    graph = ir.from_proto(model("[m] y = MatMul(x, w)", "float[2, 4] x", "float[2, 3] y", w=weights(4, 3)))
    layers = (record(f"m_myl{n}_1", "gemm", tensor("x", dtype, 2, 4), tensor("w", dtype, 4, 3), "[ONNX Layer: m]")
              for n, dtype in enumerate(("Half", "Float")))  # fmt: skip
    assert list(layers_of(log_of(*layers)).facts(graph)["precisions"]["by_precision"]) == ["fp32"]


def test_a_residual_of_another_type_is_not_the_data_of_a_convolution():
    graph = ir.from_proto(
        model(
            "[c] a = Conv(x, w) y = Add(a, r)",
            "float[1, 4, 5, 5] x, float[1, 8, 5, 5] r",
            "float[1, 8, 5, 5] y",
            w=weights(8, 4, 1, 1),
        )
    )
    data = tensor("x", "Int8", 1, 4, 5, 5) + "," + tensor("r", "Float", 1, 8, 5, 5)
    constants = tensor("w", "Int8", 8, 4, 1, 1) + "," + tensor("scale", "Float", 1, 8, 1, 1)
    fused = record("__myl_CorrMulAdd_myl0_1", "runtime_fusion", data, constants, "[ONNX Layer: c]")
    assert list(layers_of(log_of(fused)).facts(graph)["precisions"]["by_precision"]) == ["int8"]
    alike = tensor("x", "Int8", 1, 4, 5, 5) + "," + tensor("r", "Float", 1, 4, 5, 5)
    unclear = record("__myl_CorrMulAdd_myl0_1", "runtime_fusion", alike, constants, "[ONNX Layer: c]")
    facts = layers_of(log_of(unclear)).facts(graph)["precisions"]
    assert "reads data of several types" in facts["unknown"][0]["why"]


@needs_builder
def test_people_see_shares_layers_and_what_fell_back_in_100_columns(built):
    graph, log = built
    sidecar = {"backend": "tensorrt", "flavor": "rtx", **layers_of(log).facts(graph)}
    view = artifact_view("m.engine", {"artifact": "m.engine", "file": {"bytes": 10}, "sidecar": sidecar})
    printed = io.StringIO()
    Console(width=100, file=printed).print(view)
    text = printed.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "int8" in text and "correlation" in text and "1x64x14x14" in text and "weight memory" in text
    assert "MACs of a run on x 1x32x16x16" in text
    assert "1 of them, 3.6 M MACs, have quantized data and run in float all the same:" in text
    assert "Conv 'data_alone': 3.6 M MACs, fp32" in text and "..." not in text.split("precisions")[0]
