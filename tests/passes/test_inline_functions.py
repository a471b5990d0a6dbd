"""`inline-functions`: the body of a local function stands in the place of each call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, FunctionProto, helper, inliner

import onnxopt
from onnxopt import ir
from onnxopt.passes.inline_functions import InlineFunctions
from tests.passes.checks import check_golden, check_pass, ops, parse, run, run_pass

INLINE = InlineFunctions()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "local" : 1]>'
FUNCTION = '<opset_import: ["" : 18, "local" : 1], domain: "local">'
X = {"x": np.array([1, -2], np.float32)}
ROOT = Path(__file__).parents[2]


def test_golden() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) {{
            t = Neg (x)
            [first] a = local.outer <alpha = 0.5> (t)
            [second] b = local.outer (a)
            y = If (c) <
                then_branch = th () => (float[2] t1) {{ t1 = local.inner <slope = 0.25> (b) }},
                else_branch = el () => (float[2] e1) {{ e1 = Abs (b) }}
            >
        }}
        {FUNCTION} outer <alpha: float = 0.125> (x) => (y) {{
            [leaky] t = local.inner <slope: float = @alpha> (x)
            [sum] y = Add (t, x)
        }}
        {FUNCTION} inner <slope> (x) => (y) {{ [relu] y = LeakyRelu <alpha: float = @slope> (x) }}
    """)
    check_golden(INLINE, graph, "nested calls with attributes, in a branch too")


def test_the_model_computes_what_it_did() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ a = local.f (x, x) b = local.f (a, x) y = Mul (a, b) }}
        {FUNCTION} f (p, q) => (r) {{ t = Exp (p) u = Neg (q) r = Sub (t, u) }}
    """)
    ctx = check_pass(INLINE, graph, X)
    assert not graph.functions
    assert len(ctx.rewrites) == 2 and "replaced by the body of 'local.f'" in ctx.rewrites[0].what


def test_omitted_inputs_and_outputs() -> None:
    graph = parse(f"""
        {HEAD} g (float[4] x) => (float[4] y) {{
            z = local.clip (x)
            w = Constant <value = float {{1}}> ()
            v = local.clip (z, , w)
            y, unused = local.two (v)
        }}
        {FUNCTION} clip (x, low, high) => (y) {{ y = Clip (x, low, high) }}
        {FUNCTION} two (x) => (y, z) {{ y = Neg (x) z = Abs (x) }}
    """)
    fewer = graph.copy()
    fewer.nodes[-1].outputs.pop()  # onnxruntime does not take this, so it is compared with the other
    feeds = {"x": np.array([-3, 0, 0.5, 3], np.float32)}
    check_pass(INLINE, graph, feeds)
    run_pass(INLINE, fewer)
    np.testing.assert_array_equal(run(ir.to_proto(fewer), feeds)["y"], run(ir.to_proto(graph), feeds)["y"])
    assert [len([t for t in node.inputs if t.name]) for node in graph.nodes if node.op == "Clip"] == [1, 2]


def test_a_function_that_gives_out_its_input_and_one_value_twice() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] p, float[2] q, float[2] y) {{
            p, q, r = local.f (x)
            y = Add (p, r)
        }}
        {FUNCTION} f (x) => (a, b, c) {{ a = Neg (x) b = Identity (a) c = Identity (x) }}
    """)
    function = graph.functions[0]
    function.outputs[:] = [function.outputs[0], function.outputs[0], function.inputs[0]]
    run_pass(INLINE, graph)
    model = ir.to_proto(graph)
    onnx.checker.check_model(model, full_check=True)
    found = run(model, X)
    np.testing.assert_array_equal(found["p"], -X["x"])
    np.testing.assert_array_equal(found["q"], -X["x"])
    np.testing.assert_array_equal(found["y"], [0, 0])


def test_refuses_an_omitted_input_that_is_given_out() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ p, q = local.f (x) y = Add (p, q) }}
        {FUNCTION} f (x, z) => (a, b) {{ a = Neg (x) b = Abs (z) }}
    """)
    graph.functions[0].outputs[1] = graph.functions[0].inputs[1]
    changed, ctx = run_pass(INLINE, graph)
    assert not changed and "gives out its input 'z', which the call omits" in ctx.refusals[0].what


def test_names_that_clash_in_the_body_and_in_its_branches() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) {{
            t = Exp (x)
            a = local.f (x, c)
            b = local.f (a, c)
            y = Sum (t, a, b)
        }}
        {FUNCTION} f (x, c) => (r) {{
            t = Neg (x)
            s = If (c) <
                then_branch = th () => (float[2] u) <float[2] w = {{1, 2}}> {{ v = Add (t, w) u = Abs (v) }},
                else_branch = el () => (float[2] u) {{ v = Abs (t) u = Abs (v) }}
            >
            r = Add (s, t)
        }}
    """)
    for value in (False, True):
        check_pass(INLINE, graph.copy(), {**X, "c": np.array(value)})
    run_pass(INLINE, graph)
    names = [output.name for node in ir.every_node(graph) for output in node.outputs]
    assert len(names) == len(set(names))


def test_in_loops_and_in_functions_that_stay() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int64 n = {{3}}> {{
            z = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{
                co = Identity (ci) so = local.half (s)
            }}>
            y = local.keep (z)
        }}
        {FUNCTION} keep (x) => (y) {{ t = local.half (x) y = local.half (t) }}
        {FUNCTION} half (x) => (y) {{ h = Constant <value_float = 0.5> () y = Mul (x, h) }}
    """)
    check_pass(InlineFunctions(only=("half",)), graph, X)
    assert [function.name for function in graph.functions] == ["keep"]
    assert ops(graph.functions[0]) == ["Constant", "Mul", "Constant", "Mul"]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"only": ("local.a*",)}, ["bb"]),
        ({"only": ("b?",)}, ["aa"]),
        ({"skip": ("*.aa",)}, ["aa"]),
        ({}, []),
    ],
)
def test_a_choice_by_pattern(options: dict[str, tuple[str, ...]], left: list[str]) -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ t = local.aa (x) y = local.bb (t) }}
        {FUNCTION} aa (x) => (y) {{ y = Neg (x) }}
        {FUNCTION} bb (x) => (y) {{ y = Abs (x) }}
    """)
    check_pass(InlineFunctions(**options), graph, X)
    assert [function.name for function in graph.functions] == left


def test_a_choice_of_nothing_is_told() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ y = local.aa (x) }}
        {FUNCTION} aa (x) => (y) {{ y = Neg (x) }}
    """)
    changed, ctx = run_pass(InlineFunctions(only=("zz",)), graph)
    assert not changed and ctx.warnings == ["inline-functions: no function is chosen; there are: local.aa"]


def test_only_where_fewer_nodes_are_left() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{
            a = local.once (x) b = local.short (a) c = local.short (b) d = local.twice (c) y = local.twice (d)
        }}
        {FUNCTION} once (x) => (y) {{ t = Neg (x) u = local.short (t) y = Exp (u) }}
        {FUNCTION} short (x) => (y) {{ y = Abs (x) }}
        {FUNCTION} twice (x) => (y) {{ t = Abs (x) y = Sqrt (t) }}
    """)
    check_pass(InlineFunctions(fewer_nodes=True), graph, X)
    assert ops(graph) == ["Neg", "Abs", "Exp", "Abs", "Abs", "twice", "twice"]
    assert [function.name for function in graph.functions] == ["twice"]
    changed, ctx = run_pass(InlineFunctions(fewer_nodes=True), graph)
    assert not changed and not ctx.warnings and not ctx.refusals


def test_a_function_of_one_node_that_holds_others_is_not_short() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) {{ a = local.branches (x, c) y = local.branches (a, c) }}
        {FUNCTION} branches (x, c) => (y) {{
            y = If (c) <
                then_branch = t () => (t1) {{ t1 = Neg (x) }}, else_branch = e () => (e1) {{ e1 = Abs (x) }}
            >
        }}
    """)
    assert not run_pass(InlineFunctions(fewer_nodes=True), graph)[0]


def test_functions_that_engines_know_by_name_are_left() -> None:
    text = f"""
        {HEAD.replace('"local"', '"com.microsoft"')} g (float[2] x) => (float[2] y) {{ y = com.microsoft.Gelu (x) }}
        {FUNCTION.replace('"local"', '"com.microsoft"')} Gelu (x) => (y) {{ y = Abs (x) }}
    """
    changed, ctx = run_pass(InlineFunctions(fewer_nodes=True), parse(text))
    assert not changed and [refusal.what for refusal in ctx.refusals] == [
        "an engine may have a kernel of its own for 'com.microsoft.Gelu'"
    ]
    assert run_pass(INLINE, parse(text))[0]


def test_overloads_are_told_apart() -> None:
    def function(op: str, overload: str) -> FunctionProto:
        node = helper.make_node(op, ["x"], ["y"])
        return helper.make_function(
            "local", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 18)], overload=overload
        )

    nodes = [helper.make_node("f", ["x"], ["t"], domain="local"), helper.make_node("f", ["t"], ["y"], domain="local")]
    nodes[1].overload = "second"
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", 1, [2])],
            [helper.make_tensor_value_info("y", 1, [2])],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("local", 1)],
        functions=[function("Neg", ""), function("Abs", "second")],
        ir_version=10,
    )
    graph = ir.from_proto(model)
    run_pass(INLINE, graph)
    assert ops(graph) == ["Neg", "Abs"]


def test_operator_sets_that_say_the_same_are_no_conflict() -> None:
    text = """
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2] x) => (float[2] y) {{ y = local.f (x) }}
        <opset_import: ["" : {}], domain: "local"> f (x) => (y) {{ {} }}
    """
    graph = parse(text.format(17, "t = Neg (x) y = Abs (t)"))
    check_pass(INLINE, graph, X)
    refused = text.format(12, "y = ReduceSum <axes = [0], keepdims = 0> (x)")
    changed, ctx = run_pass(INLINE, parse(refused))
    assert not changed
    assert "the function has ReduceSum of opset 12, and the model imports 18" in ctx.refusals[0].what


def test_domains_that_only_the_function_imports() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2, 2] x) => (float[2, 2] y) { y = local.f (x) }
        <opset_import: ["" : 18, "ai.onnx.ml" : 3], domain: "local"> f (x) => (y) {
            t = ai.onnx.ml.Scaler <offset = [0.0], scale = [2.0]> (x) y = Abs (t)
        }
    """)
    check_pass(INLINE, graph, {"x": np.ones((2, 2), np.float32)})
    assert {(entry.domain, entry.version) for entry in ir.to_proto(graph).opset_import} >= {("ai.onnx.ml", 3)}


def test_refuses_a_function_that_calls_itself() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ y = local.f (x) }}
        {FUNCTION} f (x) => (y) {{ t = local.h (x) y = Abs (t) }}
        {FUNCTION} h (x) => (y) {{ t = local.f (x) y = Neg (t) }}
    """)
    changed, ctx = run_pass(INLINE, graph)
    assert not changed and {refusal.what for refusal in ctx.refusals} == {"the function calls itself"}


def test_attributes_of_every_kind() -> None:
    graph = parse(f"""
        {HEAD} g (float[2, 3] x) => (float[3, 2] y) {{
            t = local.f <perm = [1, 0], to = 11, v = float[1] {{2}}> (x)
            y = Cast <to = 1> (t)
        }}
        {FUNCTION} f <perm, to, v, axis> (x) => (y) {{
            w = Constant <value: tensor = @v> ()
            a = Mul (x, w)
            b = Transpose <perm: ints = @perm> (a)
            s = Softmax <axis: int = @axis> (b)
            y = Cast <to: int = @to> (s)
        }}
    """)
    check_pass(INLINE, graph, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})
    assert "axis" not in graph.nodes[3].attrs and "axis" not in graph.nodes[2].attrs


def test_a_reference_within_a_function_stays_one() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ y = local.outer <a = 0.5> (x) }}
        {FUNCTION} outer <a> (x) => (y) {{ y = local.inner <slope: float = @a> (x) }}
        {FUNCTION} inner <slope> (x) => (y) {{ y = LeakyRelu <alpha: float = @slope> (x) }}
    """)
    check_pass(InlineFunctions(only=("inner",)), graph, X)
    node = graph.functions[0].nodes[0]
    assert node.op == "LeakyRelu" and node.attrs["alpha"].name == "a"


def test_an_empty_list_as_attribute_keeps_its_type() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (int64[0] y) {{ y = local.f (x) }}
        {FUNCTION} f <v> (x) => (y) {{ y = Constant <value_ints: ints = @v> () }}
    """)
    call = graph.nodes[0]
    call.attrs["v"] = []
    call.keep_shell("v", AttributeProto(name="v", type=AttributeProto.INTS))
    run_pass(INLINE, graph)
    assert run(ir.to_proto(graph), X)["y"].dtype == np.int64


def test_a_graph_output_in_the_middle_and_names() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y, float[2] m) {{ [c] m = local.f (x) y = Exp (m) }}
        {FUNCTION} f (x) => (y) {{ [n] t = Neg (x) [a] y = Abs (t) }}
    """)
    check_pass(INLINE, graph, X)
    assert [node.name for node in graph.nodes] == ["c/n", "c/a", ""]
    assert [tensor.name for tensor in graph.outputs] == ["y", "m"]


def test_constants_that_a_pass_put_into_a_function() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <float[2] w = {{5, 6}}> {{
            t = local.f (x) u = local.f (t) y = Add (u, w)
        }}
        {FUNCTION} f (x) => (y) {{ y = Neg (x) }}
    """)
    node = graph.functions[0].nodes[0]
    node.op = "Add"
    node.inputs.append(ir.Constant("w", np.array([1, 2], np.float32)))
    check_pass(INLINE, graph, X)
    assert len(ir.to_proto(graph).graph.initializer) == 3


def test_a_limit_leaves_calls_and_their_function() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ t = local.f (x) y = local.f (t) }}
        {FUNCTION} f (x) => (y) {{ y = Neg (x) }}
    """)
    run_pass(INLINE, graph, limit=1)
    assert ops(graph) == ["Neg", "f"] and len(graph.functions) == 1
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_a_model_without_functions_costs_nothing() -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ y = Abs (x) }}")
    check_pass(INLINE, graph, X, expect_change=False)


@pytest.mark.parametrize("batch", [1, 3])
def test_what_torch_exports_with_functions(batch: int) -> None:
    """At two bindings of its dynamic dimension, and against onnx's own inliner."""
    path = ROOT / "fixtures" / "torch_functions" / "torch_functions.onnx"
    result = onnxopt.run(path, "inline-functions", verify_each=True, dims={"batch": batch})
    graph = result.graph
    assert not graph.functions and str(result.verified[-1].worst).endswith("equal")
    theirs = ir.from_proto(inliner.inline_local_functions(onnx.load(path)))
    assert sorted(node.op for node in ir.every_node(graph)) == sorted(node.op for node in ir.every_node(theirs))
