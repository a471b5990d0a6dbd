"""What a quantized model is made of: a float model, and encodings that the SDK's converter takes."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.backends.qnn_kit.encodings import entries
from onnxopt.backends.qnn_kit.float_graph import float_graph, problems_of
from onnxopt.errors import BadData, BadOption
from onnxopt.pipeline.backend import Emission, Refused
from onnxopt.quantization.encoding import TYPES, Encoding, Integer
from tests.backends.qnn_kit import kits

ROOT = Path(__file__).parents[3]


def outputs(model, sample):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": sample["x"][None]})


def made(tmp_path, model, options=""):
    artifact = kits.make(model, kits.samples_for(model, kits.images(2)), tmp_path / "kit", options)
    document = json.loads((tmp_path / "kit/encodings.json").read_text())
    return onnx.load(tmp_path / "kit/model.onnx"), document, artifact


def test_the_model_is_in_float_and_has_the_names_that_users_know(tmp_path):
    found, _, _ = made(tmp_path, kits.quantized())
    onnx.checker.check_model(found, full_check=True)
    assert [(node.op_type, *node.output) for node in found.graph.node] == [("Conv", "c"), ("Tanh", "y")]
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in found.graph.initializer}
    expected = np.array([[-127, 5, 127], [1, 0, -1]], np.float32) * [[0.25], [0.5]]
    assert np.array_equal(weights["w_float"].reshape(2, 3), expected)
    assert np.array_equal(weights["b_float"], np.float32([12.5, -12.5]))


def test_it_computes_what_the_quantized_one_does_but_for_rounding(tmp_path):
    scales = {"sx": 1 / 8, "sw": [1 / 128, 1 / 128], "sb": 1 / 128, "sc": 1 / 4}
    model = kits.quantized(zx=np.uint8(30), **{name: np.array(scale, np.float32) for name, scale in scales.items()})
    found, _, _ = made(tmp_path, model)
    for node in (*model.graph.node, *found.graph.node):
        if node.op_type == "Tanh":
            node.op_type = "Identity"
    sample = kits.images(1)[0]
    far = np.abs(outputs(model, sample)[0] - outputs(found, sample)[0])
    assert 0 < far.max() <= 1 / 8 + 1 / 16 * (127 + 5 + 127) / 128 + 1e-4  # half a step of c, and of x times |w|


def test_encodings_are_those_of_the_graph(tmp_path):
    _, document, artifact = made(tmp_path, kits.quantized())
    assert document["version"] == "0.6.1"
    assert document["activation_encodings"] == {
        "c": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "max": 190.5, "min": -192.0, "offset": -128,
               "scale": 1.5}],
        "x": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "max": 126.0, "min": -1.5, "offset": -3,
               "scale": 0.5}],
    }  # fmt: skip
    one = {"bitwidth": 8, "dtype": "int", "is_symmetric": "True", "offset": -128}
    assert document["param_encodings"] == {
        "w_float": [one | {"max": 31.75, "min": -32.0, "scale": 0.25}, one | {"max": 63.5, "min": -64.0, "scale": 0.5}]
    }
    assert artifact.facts["encodings"]["left_out"] == {
        "biases of 32 bits: their encoding follows from input and weight": 1
    }


@pytest.mark.parametrize("name", ["int4", "uint4", "int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("zero", [0, 3])
def test_an_entry_says_the_same_numbers(name, zero):
    """By the format's own formula, x = scale (q + offset) for the unsigned q: the ends of the grid, and its zero."""
    dtype = TYPES[name]
    encoding = Encoding(Integer(name, zero == 0), np.asarray(np.float32(0.25)), np.asarray(zero).astype(dtype))
    (entry,) = entries(encoding)
    bits = 4 if "4" in name else np.dtype(name).itemsize * 8
    least = -(1 << bits - 1) if name.startswith("i") else 0
    ends = encoding.dequantize(np.array([least, least + (1 << bits) - 1]).astype(dtype))
    assert entry["bitwidth"] == bits
    assert (entry["min"], entry["max"]) == tuple(ends.tolist())
    assert entry["scale"] * entry["offset"] == entry["min"]
    assert entry["scale"] * (entry["offset"] + 2**bits - 1) == entry["max"]


def test_the_integers_of_a_weight_come_back_under_its_encoding(tmp_path):
    found, document, _ = made(tmp_path, kits.quantized())
    (weight,) = [onnx.numpy_helper.to_array(each) for each in found.graph.initializer if each.name == "w_float"]
    back = [
        np.rint(row / entry["scale"]) - entry["offset"] - 128
        for row, entry in zip(weight, document["param_encodings"]["w_float"], strict=True)
    ]
    assert np.array_equal(np.ravel(back), [-127, 5, 127, 1, 0, -1])


@pytest.mark.parametrize(
    "options", ["quantize", "convert-opset{opset=21},quantize{activations=uint16 per-channel=true}"]
)
def test_encodings_on_the_float_model_are_the_quantized_model(tmp_path, monkeypatch, options):
    """By the format's formula, in code of its own: every output bit the same."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from qnn_kit_encodings import applied

    digits = ROOT / "fixtures/digits_mobilenet"
    emission = Emission.parse(f"qnn-kit{{samples=3}}={tmp_path / 'kit'}")
    passes = f"freeze-shapes{{batch=1}},O2,{options}"
    given = {"data": digits / "calibration.npz", "target": "qnn", "verify": False}
    onnxopt.run(digits / "digits_mobilenet.onnx", passes, **given).write(tmp_path / "q.onnx", [emission], {})
    with np.load(digits / "calibration.npz") as stored:
        samples = stored["input"][:3]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected, found = (
        [ort.InferenceSession(model.SerializeToString(), options).run(None, {"input": each[None]}) for each in samples]
        for model in (onnx.load(tmp_path / "q.onnx"), applied(tmp_path / "kit"))
    )
    assert np.array_equal(expected, found)


def test_an_output_that_is_quantized_keeps_its_name(tmp_path):
    text = """g (float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y, float[1, 3, 4, 5] z) {
        q = QuantizeLinear(x, s, o)
        y = DequantizeLinear(q, s, o)
        r = Relu(y)
        rq = QuantizeLinear(r, s, o)
        z = DequantizeLinear(rq, s, o)
    }"""
    model = kits.model(text, s=np.array(0.5, np.float32), o=np.array(0, np.uint8))
    found, document, _ = made(tmp_path, model)
    onnx.checker.check_model(found, full_check=True)
    assert sorted((node.op_type, *node.input, *node.output) for node in found.graph.node) == [
        ("Identity", "x", "y"),
        ("Relu", "y", "z"),
    ]
    assert set(document["activation_encodings"]) == {"x", "z"}


def test_a_second_encoding_of_a_tensor_is_left_out_and_told(tmp_path):
    text = """g (float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y) {
        q = QuantizeLinear(x, s, o)
        d = DequantizeLinear(q, s, o)
        e = QuantizeLinear(d, t, o)
        f = DequantizeLinear(e, t, o)
        y = Relu(f)
    }"""
    model = kits.model(text, s=np.array(0.5, np.float32), t=np.array(0.25, np.float32), o=np.array(0, np.uint8))
    _, document, artifact = made(tmp_path, model)
    assert document["activation_encodings"]["x"][0]["scale"] == 0.5
    assert any("1 encodings were left out: a tensor may have one encoding" in note for note in artifact.notes)


def test_a_scale_along_another_axis_is_left_out_and_told(tmp_path):
    model = kits.quantized(sw=np.array([1, 2, 3], np.float32), zw=np.zeros(3, np.int8))
    (node,) = [node for node in model.graph.node if node.output[0] == "wd"]
    node.attribute[0].i = 1
    artifact = kits.make(model, kits.samples_for(model, kits.images(1)), tmp_path / "kit")
    assert json.loads((tmp_path / "kit/encodings.json").read_text())["param_encodings"] == {}
    assert any("along another axis than the output channels" in note for note in artifact.notes)


@pytest.mark.parametrize(
    ("text", "node", "why"),
    [
        ("q = QuantizeLinear(x, s, o)\n y = Cast<to = 1>(q)", "QuantizeLinear", "read as integers"),
        ("q = Cast<to = 2>(x)\n y = DequantizeLinear(q, s, o)", "DequantizeLinear", "no QuantizeLinear makes"),
        ("v = Add(s, s)\n r = ReduceMax<keepdims = 0>(x)\n q = QuantizeLinear(x, r, o)\n y = DequantizeLinear(q, r, o)",
         "QuantizeLinear", "its scale or zero point is computed"),
        ("q = QuantizeLinear(x, s, o)\n y = DequantizeLinear(q, t, o)", "DequantizeLinear", "the two change values"),
    ],
)  # fmt: skip
def test_what_is_no_float_model_is_refused_by_node(tmp_path, text, node, why):
    model = kits.model(
        f"g (float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y) {{ {text} }}",
        s=np.array(0.5, np.float32), t=np.array(0.25, np.float32), o=np.array(0, np.uint8),
    )  # fmt: skip
    with pytest.raises(Refused, match=why) as refused:
        kits.make(model, kits.samples_for(model, kits.images(1)), tmp_path / "kit")
    assert node in refused.value.problems[0].node
    assert not list(tmp_path.iterdir())


def test_branches_are_in_float_too(tmp_path):
    text = """g (float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y) {
        top = ReduceMax<keepdims = 0>(x)
        positive = Greater(top, nought)
        y = If (positive) <
            then_branch = then () => (float[1, 3, 4, 5] a) {
                b = Relu(x)
                q = QuantizeLinear(b, s, o)
                d = DequantizeLinear(q, s, o)
                a = Tanh(d)
            },
            else_branch = otherwise () => (float[1, 3, 4, 5] e) {
                r = QuantizeLinear(x, s, o)
                e = DequantizeLinear(r, s, o)
            }
        >
    }"""
    constants = {"s": np.array(0.5, np.float32), "o": np.array(0, np.uint8), "nought": np.array(0, np.float32)}
    found, document, _ = made(tmp_path, kits.model(text, **constants))
    onnx.checker.check_model(found, full_check=True)
    branches = {each.name: [node.op_type for node in each.g.node] for each in found.graph.node[-1].attribute}
    assert branches == {"then_branch": ["Relu", "Tanh"], "else_branch": ["Identity"]}
    assert set(document["activation_encodings"]) == {"b", "x"}


def test_functions_with_integers_are_refused(tmp_path):
    text = """<ir_version: 9, opset_import: ["": 17, "own": 1]>
    g (float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y) { y = own.twice(x) }
    <domain: "own", opset_import: ["": 17]>
    twice (a) => (b) {
        s = Constant<value = float {0.5}>()
        o = Constant<value = uint8 {0}>()
        q = QuantizeLinear(a, s, o)
        b = DequantizeLinear(q, s, o)
    }"""
    model = onnx.parser.parse_model(text)
    with pytest.raises(Refused, match="takes no QuantizeLinear in a local function: inline it"):
        kits.make(model, kits.samples_for(model, kits.images(1)), tmp_path / "kit")


def test_the_graph_itself_is_left_alone():
    graph = ir.from_proto(kits.quantized())
    before = ir.fingerprint(graph)
    assert not problems_of(graph)
    float_graph(graph)
    assert ir.fingerprint(graph) == before


def test_encodings_of_calibrated_ranges(tmp_path):
    onnx.save(kits.image(), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.stack([each["x"] for each in kits.images(4)]))
    result = onnxopt.run(tmp_path / "m.onnx", "calibrate{method=minmax}", data=tmp_path / "d.npz")
    from onnxopt.quantization.range_file import save_ranges
    from onnxopt.quantization.ranges import Ranges

    ranges = result.context.kept(Ranges)
    save_ranges(ranges, tmp_path / "r.json")
    emission = Emission.parse(f'qnn-kit{{ranges="{tmp_path / "r.json"}" activation-bits=16}}={tmp_path / "kit"}')
    result.write(None, [emission], {})
    found = json.loads((tmp_path / "kit/encodings.json").read_text())["activation_encodings"]
    assert set(found) == {"x", "y"} | ({"c"} if "c" in ranges.by_name else set())
    (entry,) = found["x"]
    low, high = ranges.by_name["x"].low, ranges.by_name["x"].high
    assert entry["bitwidth"] == 16 and abs(entry["min"] - low) < 1e-3 and abs(entry["max"] - high) < 1e-3
    with pytest.raises(BadData, match="was calibrated on another graph"):
        emission.write(
            ir.from_proto(kits.model(kits.IMAGE, w=np.ones((2, 3, 1, 1), np.float32))), {}, result.context.data
        )


def test_ranges_beside_encodings_are_refused(tmp_path):
    with pytest.raises(BadOption, match="ranges is for a model in float"):
        made(tmp_path, kits.quantized(), "ranges=r.json")


def test_a_float_model_without_ranges_has_no_encodings(tmp_path):
    artifact = kits.make(kits.image(), kits.samples_for(kits.image(), kits.images(1)), tmp_path / "kit")
    assert not (tmp_path / "kit/encodings.json").exists()
    assert "--quantization_overrides" not in (tmp_path / "kit/run.sh").read_text().split("# What follows")[0]
    assert any("has no encodings" in note for note in artifact.notes)


def test_a_new_opset_is_told(tmp_path):
    model = kits.model("g (float[N, 3, 4, 5] x) => (float[N, 3, 4, 5] y) { y = Relu(x) }", opset=23)
    artifact = kits.make(model, kits.samples_for(model, kits.images(1)), tmp_path / "kit")
    assert any("opset 23" in note for note in artifact.notes)
