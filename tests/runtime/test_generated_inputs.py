"""Inputs made up for a model: their types, their sizes, and values that its operators accept."""

import contextlib
import warnings

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, parser
from onnx.backend.test.loader import load_model_tests

from onnxopt.data.spec import ValueSpec
from onnxopt.errors import BadOption
from onnxopt.runtime.compare import Tolerance, compare
from onnxopt.runtime.dimensions import GUESSES, Guess, bind
from onnxopt.runtime.generated_inputs import generate, runnable_inputs
from onnxopt.runtime.nondeterminism import nondeterministic_outputs
from onnxopt.runtime.precision import coarsest_rounding
from onnxopt.runtime.session import NotRunnable, Session


def model(text, opset=21):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "local" : 1]> {text}')


def first(text, **options):
    return next(generate(model(text), **options))


def run(text, **options):
    tested = model(text)
    (feeds,) = runnable_inputs(tested, Session(tested), **options)
    return feeds


def test_the_same_arguments_give_the_same_inputs():
    text = "g (float[N, 4] x, int64[N] i) => (float[N, 4] y) { y = Relu(x) }"
    one, other = (list(generate(model(text), count=3, seed=5)) for _ in range(2))
    assert len(one) == 3
    for a, b in zip(one, other, strict=True):
        np.testing.assert_equal(a, b)
    assert not np.array_equal(one[0]["x"], one[1]["x"])
    assert not np.array_equal(one[0]["x"], next(generate(model(text), seed=6))["x"])


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        *(("float", "f4"), ("double", "f8"), ("float16", "f2"), ("int32", "i4"), ("uint8", "u1"), ("bool", "?")),
        *(("bfloat16", ml_dtypes.bfloat16), ("float8e4m3fn", ml_dtypes.float8_e4m3fn), ("int4", ml_dtypes.int4)),
    ],
)
def test_values_have_the_declared_type_and_vary(code, dtype):
    x = first(f"g ({code}[64] x) => ({code}[64] y) {{ y = Identity(x) }}")["x"]
    assert (x.dtype, x.shape) == (np.dtype(dtype), (64,))
    assert len(set(x.astype(float).tolist())) > 1


def test_strings_sequences_and_optionals():
    text, sequence = (helper.make_tensor_value_info("t", 8, [3]), helper.make_tensor_sequence_value_info("s", 1, [2]))
    optional = helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [2])))
    feeds = next(generate(helper.make_model(helper.make_graph([], "g", [text, sequence, optional], []))))
    assert all(isinstance(word, str) for word in feeds["t"])
    assert [a.shape for a in feeds["s"]] == [(2,)] * 3
    assert feeds["o"].shape == (2,)


def shapes(*declared, dims=None, guess=GUESSES[0]):
    specs = [ValueSpec(f"x{i}", "tensor", np.dtype("f4"), shape) for i, shape in enumerate(declared)]
    return list(bind(specs, dims or {}, guess).values())


def test_one_symbol_has_one_size_and_the_caller_may_say_which():
    assert shapes(("N", "T"), ("T", "N"), ("N", 3)) == [(2, 16), (16, 2), (2, 3)]
    assert shapes(("N", "T"), ("T",), dims={"T": 7}) == [(2, 7), (7,)]


def test_dimensions_may_be_expressions():
    assert shapes(("N", "T"), ("N", "T + past"), ("N", "past", 8), ("2*N",)) == [(2, 16), (2, 32), (2, 16, 8), (4,)]
    assert shapes(("N", "T + past"), dims={"past": 3, "T": 4}) == [(2, 7)]
    assert shapes(("N", "T; import os"), ("N", "T - 99")) == [(2, 16), (2, 16)]  # no size: taken as unknown


def test_free_axes_go_by_their_place():
    guess = Guess(batch=1, inner=5, last=7, limit=1)
    assert shapes((None, 3, None, None), (2, None, 128), None, (), guess=guess) == [(1, 3, 7, 7), (2, 5, 128), (7,), ()]


def test_a_dimension_that_is_not_there_is_an_error():
    with pytest.raises(BadOption, match="no input has a dimension 'batch'; there are: N, T"):
        shapes(("N", "T"), dims={"batch": 4})


def test_indices_stay_within_what_they_index():
    text = "g (int64[N, 100] i) => (float[N, 100, 2] y) <float[5, 2] w = {0,1,2,3,4,5,6,7,8,9}> { y = Gather(w, i) }"
    i = first(text)["i"]
    assert set(i.flat) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "way",
    [
        "j = Cast<to=7>(i)",
        "j = Identity(i)",
        "j = Unsqueeze(i, zero)",
        "s = Concat<axis=0>(i, i) j = Reshape(s, minus)",
        "j = If (c) <then_branch = t () => (int32[8] a) { a = Identity(i) }, "
        "else_branch = e () => (int32[8] b) { b = Gather(w, i) }>",
        "j = local.look (i, w)",
    ],
)
def test_indices_are_recognised_through_other_nodes(way):
    text = f"""g (int32[8] i, bool c) => (int32[K] y)
        <int32[3] w = {{1, 1, 1}}, int64[1] zero = {{0}}, int64[1] minus = {{-1}}>
        {{ {way} y = Gather(w, j) }}
        <opset_import: ["" : 21], domain: "local"> look (n, table) => (r) {{ m = Identity(n) r = Gather(table, m) }}"""
    assert first(text)["i"].max() < 3


def test_an_index_into_two_tables_suits_the_smaller():
    text = """g (int64[50] i) => (float[50] y) <float[9] a = {0,0,0,0,0,0,0,0,0}, float[3] b = {0,0,0}>
        { u = Gather(a, i) v = Gather(b, i) y = Add(u, v) }"""
    assert first(text)["i"].max() == 2


def test_large_tables_are_known_by_shape_alone():
    text = "g (int64[1000] i) => (float[1000, 64] y) { y = Gather(w, i) }"
    tested = model(text)
    tested.graph.initializer.append(onnx.TensorProto(name="w", data_type=1, dims=[50, 1 << 40]))  # no data at all
    assert next(generate(tested))["i"].max() == 49


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2, 6] x, int64[3] s) => (float[a, b, c] y) { y = Reshape(x, s) }",
        "g (float[3, 1] x, int64[2] s) => (float[a, b] y) { y = Expand(x, s) }",
        "g (float[3, 4] x, int64[2] r) => (float[a, b] y) { y = Tile(x, r) }",
        "g (float[3, 4] x, int64[1] k) => (float[a, b] y, int64[a, b] i) { y, i = TopK(x, k) }",
        "g (float[3, 4] x, int64[1] s, int64[1] e, int64[1] a, int64[1] t) => (float[q, r] y) { y = Slice(x,s,e,a,t) }",
        "g (float[1, 1, 4, 4] x, int64[4] s) => (float[a, b, c, d] y) { y = Resize(x, , , s) }",
        "g (float[1, 1, 4, 4] x, float[4] s) => (float[a, b, c, d] y) { y = Resize(x, , s) }",
        "g (float[3, 4] x, int64[4] p) => (float[a, b] y) { y = Pad(x, p) }",
        "g (float[7, 4] x, int64[3] s) => (float[a, 4] y, float[b, 4] z, float[c, 4] w) { y, z, w = Split(x, s) }",
        "g (int64 a, int64 b, int64 c) => (int64[n] y) { y = Range(a, b, c) }",
        "g (int32[4] a, int32[4] b) => (int32[4] y) { y = Div(a, b) }",
        "g (float[3, 1, 1] x, int64[2] a) => (float[n] y) { y = Squeeze(x, a) }",
        "g (float[4, 5] x, int64[2, 2] i) => (float[2] y) { y = GatherND(x, i) }",
        "g (int64 n, bool c, float[2] x) => (float[2] y) { y = Loop (n, c, x) < body = b (int64 i, bool k, float[2] u)"
        " => (bool k2, float[2] v) { k2 = Identity(k) v = Neg(u) }> }",
    ],
)
def test_operators_that_ask_for_certain_values_get_them(text):
    run(text)


def test_sizes_are_tried_until_one_fits():
    text = "g (float[N, C, H, W] x) => (float[a, b, c, d] y) <int64[2] s = {-1, 50176}> { y = Reshape(x, s) }"
    exact = "g (float[?, 3, ?, ?] x) => (float[q, r] y) <int64[2] s = {1, 150528}> { y = Reshape(x, s) }"
    assert run(text)["x"].size % 50176 == 0
    assert run(exact)["x"].shape == (1, 3, 224, 224)


def test_a_model_that_refuses_everything_asks_for_data():
    with pytest.raises(NotRunnable, match=r"give real ones with --data .*Reshape") as refusal:
        run("g (float[N] x) => (float[q, r] y) <int64[1] s = {1234567}> { y = Reshape(x, s) }")
    assert "\n" not in str(refusal.value)


def test_a_model_without_inputs_has_one_empty_set_of_them():
    assert run("g () => (float[2] y) { y = Constant<value_floats=[1.0, 2.0]>() }") == {}


def conformance(step):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes its expected outputs as it lists the tests
        tests = sorted(load_model_tests(kind="node"), key=lambda test: test.name)
    for test in tests[::step]:
        with contextlib.suppress(NotRunnable):
            yield test, Session(test.model)


def test_conformance_models_run_on_what_is_generated_and_compare_as_given():
    """Of all 1,515 node models that onnxruntime loads, 1,495 run on generated inputs, 1,506 give the given outputs."""
    loaded, refused, wrong = 0, [], []
    for test, session in conformance(step=5):
        loaded += 1
        try:
            runnable_inputs(test.model, session)
        except NotRunnable:
            refused.append(test.name)
        if not agrees_with_given_data(test, session):
            wrong.append(test.name)
    print(f"{loaded} models; generated inputs refused: {refused}; given outputs differ: {wrong}")
    assert loaded > 250
    assert len(refused) <= 0.03 * loaded
    assert len(wrong) <= 0.03 * loaded  # onnxruntime's own departures from the specification


def agrees_with_given_data(test, session):
    for inputs, outputs in test.data_sets:
        given = [onnx.numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in (*inputs, *outputs)]
        names = [spec.name for spec in session.inputs]
        feeds = dict(zip(names, given, strict=False))
        random = nondeterministic_outputs(test.model)
        expected = {
            spec.name: value
            for spec, value in zip(session.outputs, given[len(inputs) :], strict=True)
            if spec.name not in random
        }
        try:
            found = session.run(feeds)
        except NotRunnable:
            return False
        rounding = coarsest_rounding(test.model)
        if not all(d.ok for d in compare(expected, found, Tolerance.VALUES, rounding=rounding)):
            return False
    return True
