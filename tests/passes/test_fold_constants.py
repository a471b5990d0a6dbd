from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxopt import ir
from onnxopt.passes.fold_constants import FoldConstants
from onnxopt.runtime.session import Session
from tests.folding.models import HEAD, WITH_FUNCTION, body, constant, floats, model, op, ops
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass

FOLD = FoldConstants()


def test_golden_main_graph() -> None:
    graph = parse(f"""{HEAD} m (float[2,3] x) => (float[3,2] y, int64 n, float[2] z, float[1] kept)
        <float[2] a = {{1, 2}}, float[2] b = {{3, 4}}> {{
        sum = Add(a, b)
        [last] z = Mul(sum, sum)
        two = Constant <value_ints = [2]> ()
        one = Sub(two, unit)
        unit = Constant <value = int64[1] {{1}}> ()
        minus = Neg(one)
        shape = Shape(x)
        columns = Slice(shape, one, two)
        rest = Concat <axis = 0> (columns, minus)
        y = Reshape(x, rest)
        n = Size(x)
        kept = Constant <value_floats = [1.0]> ()
    }}""")
    check_golden(FOLD, graph, "main graph")


def test_golden_bodies_and_functions() -> None:
    graph = parse(f"""{WITH_FUNCTION} m (bool c, float[2] x) => (float[2] y) <float[2] w = {{1, 2}}> {{
        twice = Add(w, w)
        chosen = If (c) <
            then_branch = t () => (float[2] tt) {{
                half = Constant <value_float = 0.5> ()
                small = Mul(w, half)
                tt = Add(x, small)
            }},
            else_branch = e () => (float[2] ee) {{ ee = Mul(twice, twice) }}
        >
        y = own.f(chosen)
    }}
    <domain: "own", opset_import: ["" : 21]>
    f (a) => (b) {{
        one = Constant <value_float = 1.0> ()
        unused = Constant <value_float = 3.0> ()
        two = Add(one, one)
        more = Add(a, two)
        b = Add(more, one)
    }}""")
    check_golden(FOLD, graph, "bodies and functions")


def test_outputs_stay_bit_equal_in_every_scope() -> None:
    graph = parse(f"""{WITH_FUNCTION} m (bool c, float[2] x) => (float[2] y, float[2] v) <float[2] w = {{1, 3}}> {{
        twice = Add(w, w)
        v = Sin(twice)
        i = If (c) <
            then_branch = t () => (float[2] tt) {{ s = Exp(twice) tt = Add(x, s) }},
            else_branch = e () => (float[2] ee) {{ ee = Cos(w) }}
        >
        y = own.f(i)
    }}
    <domain: "own", opset_import: ["" : 21]>
    f (a) => (b) {{ one = Constant <value_float = 1.0> () r = Tanh(one) b = Add(a, r) }}""")
    ctx = check_pass(FOLD, graph)
    assert ctx.statistics["fold-constants: nodes folded"] == 5
    assert ctx.statistics["fold-constants: onnxruntime sessions"] == 1


def test_the_body_of_a_loop_is_folded() -> None:
    graph = parse(f"""{HEAD} m (float[2] x, int64 trips) => (float[2] y) <bool on = {{1}}, float[2] w = {{1, 3}}> {{
        last = Loop (trips, on, x) <body = b (int64 i, bool go, float[2] acc) => (bool same, float[2] next) {{
            half = Constant <value_float = 0.5> ()
            step = Mul(w, half)
            next = Add(acc, step)
            same = Identity(go)
        }}>
        y = Abs(last)
    }}""")
    check_pass(FOLD, graph, {"x": floats(1, 2), "trips": np.asarray(3, np.int64)})
    assert ops(graph) == ["Loop", "Abs", "Add", "Identity"]


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value_int = 3", np.asarray(3, np.int64)),
        ("value_ints = [3, 4]", np.array([3, 4], np.int64)),
        ("value_ints: ints = []", np.array([], np.int64)),
        ("value_float = 0.1", np.asarray(0.1, np.float32)),
        ("value_floats: floats = []", np.array([], np.float32)),
        ("value = double {0.1}", np.asarray(0.1)),
        ('value_string = "a"', np.asarray("a", object)),
        ('value_strings = ["a", "b"]', np.array(["a", "b"], object)),
    ],
)
def test_every_form_of_constant_becomes_an_initializer(attribute: str, expected: np.ndarray[Any, Any]) -> None:
    graph = body(f"c = Constant <{attribute}> () d = own.op(c) y = Abs(x)")
    changed, _ = run_pass(FOLD, graph)
    found = constant(graph, "c")
    assert changed and ops(graph) == ["op", "Abs"]
    assert found.dtype == expected.dtype and found.shape == expected.shape and (found == expected).all()


def test_a_constant_node_that_is_an_output_stays_and_its_readers_are_folded() -> None:
    graph = parse(f"{HEAD} m () => (float c, float y) {{ c = Constant <value_float = 2.0> () y = Mul(c, c) }}")
    check_pass(FOLD, graph, {})
    assert ops(graph) == ["Constant", "Constant"]


def test_a_sparse_constant_stays() -> None:
    value, index = (
        helper.make_tensor("", TensorProto.FLOAT, [1], [5.0]),
        helper.make_tensor("", TensorProto.INT64, [1], [1]),
    )
    sparse = helper.make_sparse_tensor(value, index, [2])
    graph = model([op("Constant", "", "c", sparse_value=sparse), op("Add", "x c", "y")], {})
    changed, ctx = run_pass(FOLD, graph)
    assert not changed and "sparse" in ctx.refusals[0].what


def test_names_and_the_interface_stay() -> None:
    graph = body("[last] z = Neg(w) s = Neg(w) y = Pow(x, s)", "float[2] w = {1, 2}", ", float[two] z")
    check_pass(FOLD, graph)
    assert graph.outputs[1].shape == ["two"] and graph.outputs[1].producer.name == "last"
    assert (constant(graph, "s") == [-1, -2]).all()


def test_a_stale_declaration_of_a_folded_value_goes() -> None:
    graph = body("a = Neg(w) y = Add(x, a)", "float[2] w = {1, 2}, float[9] a")
    check_pass(FOLD, graph)
    assert not ir.to_proto(graph).graph.value_info


@pytest.mark.parametrize(
    "node",
    [
        "RandomNormal <shape = [2]> ()",
        "RandomUniform <shape = [2], seed = 1.0> ()",
        "RandomNormalLike(w)",
        "RandomUniformLike(w)",
        "Bernoulli(w)",
        "Dropout(w, ratio, yes)",
    ],
)
def test_random_operators(node: str) -> None:
    constants = "float[2] w = {1, 1}, float ratio = {0.5}, bool yes = {1}"
    changed, ctx = run_pass(FOLD, body(f"r = {node} y = Add(x, r)", constants))
    assert not changed and "random" in ctx.refusals[0].what


def test_a_dropout_that_does_not_train_is_folded() -> None:
    graph = body("d = Dropout(w, r) y = Add(x, d)", "float[2] w = {1, 2}, float r = {0.5}")
    check_pass(FOLD, graph)
    assert ops(graph) == ["Add"]


def test_quantized_weights_stay_quantized() -> None:
    nodes = "u = Unsqueeze(w, i) flat = Squeeze(u) d = DequantizeLinear(flat, s, z) y = Add(x, d)"
    graph = body(nodes, "int8[2] w = {1, 2}, float s = {0.5}, int8 z = {0}, int64[1] i = {0}")
    ctx = check_pass(FOLD, graph)
    assert ops(graph) == ["DequantizeLinear", "Add"]
    assert "quantization" in ctx.refusals[0].what


def test_an_input_with_a_default_is_not_constant() -> None:
    graph = parse(f"{HEAD} m (float[2] x, float[2] w = {{1, 2}}) => (float[2] y) {{ d = Neg(w) y = Add(x, d) }}")
    check_pass(FOLD, graph, {"x": floats(1, 2), "w": floats(5, 6)}, expect_change=False)


def test_operators_of_other_domains_and_calls() -> None:
    graph = parse(f"""{WITH_FUNCTION} m (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}> {{
        a = own.f(w)
        b = com.microsoft.Gelu(w)
        y = Sum(x, a, b)
    }}
    <domain: "own", opset_import: ["" : 21]> f (a) => (b) {{ b = Neg(a) }}""")
    changed, ctx = run_pass(FOLD, graph)
    assert not changed and sorted(refusal.where for refusal in ctx.refusals) == ["Gelu -> b", "f -> a"]


def test_control_flow_stays_though_its_condition_is_known() -> None:
    branches = "then_branch = t () => (float[2] a) { a = Neg(x) }, else_branch = e () => (float[2] b) { b = Abs(x) }"
    check_refusal(FOLD, body(f"i = If (c) <{branches}> y = Add(x, i)", "bool c = {1}"), "control flow")


def test_attributes_of_a_function_are_not_known() -> None:
    graph = parse(f"""{WITH_FUNCTION} m (float[2,1] x) => (float[2,1] y) {{ y = own.f <axis = 0> (x) }}
    <domain: "own", opset_import: ["" : 21]>
    f <axis> (a) => (b) {{
        one = Constant <value_floats = [1.0]> ()
        s = Softmax <axis: int = @axis> (one)
        b = Add(a, s)
    }}""")
    check_refusal(FOLD, graph, "parameter of the function")


def test_sequences_are_left() -> None:
    graph = body("s = SequenceConstruct(w, w) e = SequenceAt(s, i) y = Add(x, e)", "float[2] w = {1, 2}, int64 i = {0}")
    check_pass(FOLD, graph, expect_change=False)


def test_no_constant_node_of_a_type_that_the_opset_lacks() -> None:
    graph = model([op("Add", "w w", "a"), op("Greater", "a w", "y")], {"w": floats(1, 1)}, opset=7)
    changed, ctx = run_pass(FOLD, graph)
    assert changed and ops(graph) == ["Greater"] and "Constant has no type bool" in ctx.refusals[0].what


def test_bodies_of_a_model_of_ir_version_3_have_no_initializers() -> None:
    graph = parse("""<ir_version: 3, opset_import: ["" : 11]>
        m (bool c, float[2] x, float[2] w = {1, 2}) => (float[2] y) {
            v = Neg(w)
            y = If (c) <
                then_branch = t () => (float[2] a) { k = Constant <value = float {3}> () s = Mul(v, k) a = Add(x, s) },
                else_branch = e () => (float[2] b) { b = Add(x, v) }
            >
        }""")
    check_pass(FOLD, graph)
    assert ops(graph) == ["If", "Constant", "Add", "Add"]


def test_every_limit_leaves_a_model_that_computes_the_same() -> None:
    text = """two = Constant <value_float = 2.0> () a = Mul(w, two) s1, s2 = Split <axis = 0, num_outputs = 2> (a)
        z = Exp(a) b = Concat <axis = 0> (s2, s1) y = Add(x, b)"""

    def graph() -> ir.Graph:
        return body(text, "float[2] w = {1, 2}", ", float[2] z")

    whole = run_pass(FOLD, graph())[1].rewrites
    expected = Session(ir.to_proto(graph())).run({"x": floats(1, 2)})
    assert len(whole) == 5
    for limit in range(len(whole) + 1):
        limited = graph()
        changed, ctx = run_pass(FOLD, limited, limit=limit)
        found = Session(ir.to_proto(limited)).run({"x": floats(1, 2)})
        assert ctx.rewrites == whole[:limit] and changed == bool(limit)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
