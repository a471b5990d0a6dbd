"""Sessions: every type in and out, no optimization unless asked, and refusals in one line."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, parser

from onnxopt.runtime.session import NotRunnable, Session


def model(text, opset=21):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')


def one_node(node, inputs, outputs, opset=21):
    graph = helper.make_graph([node], "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


RELU = model("g (float[N, 3, ?] x) => (float[N, 3, ?] y) { y = Relu(x) }")


def test_describes_inputs_and_outputs_as_the_file_declares_them():
    session = Session(RELU)
    (x,), (y,) = session.inputs, session.outputs
    assert (x.name, x.kind, x.dtype, x.shape) == ("x", "tensor", np.dtype("float32"), ("N", 3, None))
    assert y.name == "y"


def test_runs_on_named_feeds():
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(1, 3, 2)
    np.testing.assert_array_equal(Session(RELU).run({"x": x})["y"], np.maximum(x, 0))


def test_takes_bytes_and_paths_with_external_data(tmp_path):
    weight = onnx.numpy_helper.from_array(np.arange(400, dtype=np.float32), "w")
    adding = model("g (float[400] x) => (float[400] y) { y = Add(x, w) }")
    adding.graph.initializer.append(weight)
    feeds = {"x": np.ones(400, np.float32)}
    expected = Session(adding.SerializeToString()).run(feeds)["y"]
    path = tmp_path / "m.onnx"
    onnx.save(adding, path, save_as_external_data=True, location="weights", size_threshold=0)
    np.testing.assert_array_equal(Session(path).run(feeds)["y"], expected)


def test_inputs_with_a_default_need_not_be_fed():
    scaled = model("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {2, 3}> { y = Mul(x, w) }")
    session = Session(scaled)
    assert [spec.name for spec in session.inputs] == ["x"]
    np.testing.assert_array_equal(session.run({"x": np.ones(2, np.float32)})["y"], [2, 3])


WIDE = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]


@pytest.mark.parametrize("name", WIDE)
def test_types_that_numpy_lacks_go_in_and_come_out(name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    code = helper.np_dtype_to_tensor_dtype(dtype)
    value = helper.make_tensor_value_info
    twice = one_node(helper.make_node("Identity", ["x"], ["y"]), [value("x", code, [3])], [value("y", code, [3])])
    x = np.array([1, 2, 0.5]).astype(dtype)
    y = Session(twice).run({"x": x})["y"]
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("name", ["int4", "uint4"])
@pytest.mark.parametrize("count", [3, 4])
def test_four_bit_integers_are_packed_on_the_way(name, count):
    dtype = np.dtype(getattr(ml_dtypes, name))
    code = helper.np_dtype_to_tensor_dtype(dtype)
    value = helper.make_tensor_value_info
    widen = one_node(
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT),
        [value("x", code, [count])],
        [value("y", TensorProto.FLOAT, [count])],
    )
    narrow = one_node(
        helper.make_node("Cast", ["x"], ["y"], to=code),
        [value("x", TensorProto.FLOAT, [count])],
        [value("y", code, [count])],
    )
    x = np.array([1, 7, 2, 5][:count]).astype(dtype)
    widened = Session(widen).run({"x": x})["y"]
    np.testing.assert_array_equal(widened, x.astype(np.float32))
    narrowed = Session(narrow).run({"x": widened})["y"]
    assert narrowed.dtype == dtype
    np.testing.assert_array_equal(narrowed, x)


def test_strings_scalars_and_transposed_arrays():
    text = one_node(
        helper.make_node("StringConcat", ["x", "x"], ["y"]),
        [helper.make_tensor_value_info("x", TensorProto.STRING, [2])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
    )
    assert Session(text).run({"x": np.array(["a", "bc"])})["y"].tolist() == ["aa", "bcbc"]
    negate = model("g (bfloat16[2, 3] x, float s) => (float[2, 3] y, float t) { y = Cast<to=1>(x) t = Neg(s) }")
    x = np.arange(6).reshape(3, 2).astype(ml_dtypes.bfloat16).T
    found = Session(negate).run({"x": x, "s": np.float32(2)})
    np.testing.assert_array_equal(found["y"], x.astype(np.float32))
    assert found["t"].shape == ()


def test_sequences_are_lists_and_empty_optionals_none():
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    length = helper.make_tensor_value_info("n", TensorProto.INT64, [])
    session = Session(one_node(helper.make_node("SequenceLength", ["s"], ["n"]), [sequence], [length]))
    assert session.inputs[0].kind == "sequence"
    assert session.run({"s": [np.ones(2, np.float32)] * 3})["n"] == 3
    made = one_node(
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [sequence],
    )
    assert [a.shape for a in Session(made).run({"x": np.ones(2, np.float32)})["s"]] == [(2,), (2,)]
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    has = one_node(
        helper.make_node("OptionalHasElement", ["o"], ["y"]),
        [helper.make_value_info("o", optional)],
        [helper.make_tensor_value_info("y", TensorProto.BOOL, [])],
    )
    session = Session(has)
    assert session.inputs[0].kind == "optional"
    assert not session.run({"o": None})["y"]
    assert session.run({"o": np.ones(2, np.float32)})["y"]


def test_exotic_and_sequence_outputs_of_one_model():
    both = model("g (float[2] x) => (bfloat16[2] b, float[2] y) { b = Cast<to=16>(x) y = Neg(x) }")
    both.graph.node.append(helper.make_node("SequenceConstruct", ["x"], ["s"]))
    both.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))
    found = Session(both).run({"x": np.ones(2, np.float32)})
    assert list(found) == ["b", "y", "s"]
    assert found["b"].dtype == ml_dtypes.bfloat16


def test_some_outputs_may_be_asked_for():
    two = model("g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Abs(x) }")
    feeds = {"x": np.ones(2, np.float32)}
    assert list(Session(two).run(feeds, ["z"])) == ["z"]
    assert Session(two).run(feeds, []) == {}
    with pytest.raises(NotRunnable, match="no output 'q'; its outputs are y, z"):
        Session(two).run(feeds, ["q"])


def test_the_graph_runs_as_it_is_unless_asked():
    levels = ort.GraphOptimizationLevel
    for optimize, level in ((False, levels.ORT_DISABLE_ALL), (True, levels.ORT_ENABLE_ALL)):
        options = Session(RELU, optimize=optimize, threads=2)._session.get_session_options()
        assert options.graph_optimization_level == level
        assert options.intra_op_num_threads == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (model("g (float[2] x) => (float[2] y) { y = test.Nothing(x) }"), "cannot load the model: .*Nothing"),
        (b"no model at all", "cannot load the model"),
        (model("g (complex64[2] x) => (complex64[2] y) { y = Identity(x) }"), "complex64"),
    ],
)
def test_a_refused_model_is_one_line(source, reason):
    with pytest.raises(NotRunnable, match=reason) as refusal:
        Session(source)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"x": np.ones((1, 3, 1), np.float64)},
        {"x": np.ones((1, 4, 1), np.float32)},
        {"x": np.ones((1, 3, 1), np.float32), "z": np.ones(1)},
        {"x": [1.0]},
    ],
)
def test_wrong_feeds_are_refused_in_one_line(feeds, capfd):
    with pytest.raises(NotRunnable, match="cannot run the model") as refusal:
        Session(RELU).run(feeds)
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")
