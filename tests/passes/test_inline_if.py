"""`inline-if`: the branch taken stands in the place of the If, and the model computes what it did."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass
from tests.passes.if_models import BRANCHES, HEAD, INLINE, if_of


def test_golden_nested() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <bool yes = {{1}}, bool no = {{0}}> {{
            before = Abs (x)
            p = If (c) <
                then_branch = t () => (float[2] t1) {{
                    a = Exp (before)
                    t1 = If (no) <
                        then_branch = tt () => (float[2] tt1) {{ tt1 = Neg (a) }},
                        else_branch = te () => (float[2] te1) <float[2] w = {{1, 2}}> {{
                            b = Add (a, w) te1 = Mul (b, x)
                        }}
                    >
                }},
                else_branch = e () => (float[2] e1) {{ a = Sin (x) e1 = Identity (a) }}
            >
            y = If (yes) <
                then_branch = t () => (float[2] t2) {{
                    a = Neg (p)
                    t2 = If (c) <
                        then_branch = t () => (float[2] t3) {{ b = Exp (a) t3 = Neg (b) }},
                        else_branch = e () => (float[2] e3) {{ e3 = Abs (a) }}
                    >
                }},
                else_branch = e () => (float[2] e2) {{ e2 = Neg (p) }}
            >
        }}
    """)
    check_golden(INLINE, graph, "an If in a branch, and one that holds another")


@pytest.mark.parametrize("condition", ["0", "1"])
def test_the_branch_of_a_constant_condition_is_taken(condition: str) -> None:
    graph = if_of(BRANCHES, condition)
    ctx = check_pass(INLINE, graph)
    assert ops(graph) == [("Neg", "Abs")[int(condition)], "Exp", "Identity"]
    assert len(ctx.rewrites) == 1 and "the condition is always" in ctx.rewrites[0].what


def test_a_condition_is_known_when_it_was_folded() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int64 two = {{2}}> {{
            s = Shape (x) d = Squeeze (s) k = Equal (d, two) y = If (k) <{BRANCHES}>
        }}
    """)
    assert not run_pass(INLINE, graph)[0]
    from onnxopt.passes.fold_constants import FoldConstants

    run_pass(FoldConstants(), graph)
    check_pass(INLINE, graph)
    assert ops(graph) == ["Abs", "Exp"] and graph.outputs[0].name == "y"


def test_a_condition_of_shape_1_and_a_constant_node() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) {{ k = Constant <value = bool[1] {{1}}> () y = If (k) <{BRANCHES}> }}
    """)
    check_pass(INLINE, graph)
    assert ops(graph) == ["Constant", "Abs", "Exp"]


@pytest.mark.parametrize("taken", ["then", "else"])
def test_in_a_branch_the_condition_is_known_and_so_is_its_negation(taken: str) -> None:
    inner = f"n = Not (c) q = If (c) <{BRANCHES}> r = If (n) <{BRANCHES}>"
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) {{
            y = If (c) <
                then_branch = to () => (float[2] to1) {{ {inner if taken == "then" else ""} to1 = {
        "Add (q, r)" if taken == "then" else "Neg (x)"
    } }},
                else_branch = eo () => (float[2] eo1) {{ {inner if taken == "else" else ""} eo1 = {
        "Add (q, r)" if taken == "else" else "Neg (x)"
    } }}
            >
        }}
    """)
    for value in (False, True):
        check_pass(INLINE, graph.copy(), {"x": np.array([1, -2], np.float32), "c": np.array(value)})
    run_pass(INLINE, graph)
    assert [node.op for node in ir.every_node(graph)].count("If") == 1


def test_equal_branches_need_no_condition() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <float[2] w = {{1, 2}}> {{
            y = If (c) <
                then_branch = t () => (float[2] t1) {{ a = Add (x, w) t1 = Exp (a) }},
                else_branch = e () => (float[2] e1) <float[2] v = {{1, 2}}> {{ b = Add (v, x) e1 = Exp (b) }}
            >
        }}
    """)
    check_pass(INLINE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(False)})
    assert ops(graph) == ["Add", "Exp"]


@pytest.mark.parametrize(
    "other",
    [
        "a = Add (x, w) e1 = Neg (a)",
        "a = Add (x, x) e1 = Exp (a)",
        "e1 = Exp (x)",
        "a = Add (x, w) b = Exp (a) e1 = Exp (b)",
    ],
)
def test_branches_that_differ_stay(other: str) -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <float[2] w = {{1, 2}}> {{
            y = If (c) <
                then_branch = t () => (float[2] t1) {{ a = Add (x, w) t1 = Exp (a) }},
                else_branch = e () => (float[2] e1) {{ {other} }}
            >
        }}
    """)
    check_pass(INLINE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(False)}, expect_change=False)


def test_equal_after_what_they_hold_is_inlined() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <bool k = {{0}}> {{
            y = If (c) <
                then_branch = t () => (float[2] t0) {{ t0 = If (k) <{BRANCHES}> }},
                else_branch = e () => (float[2] e0) {{ f = Neg (x) e0 = Exp (f) }}
            >
        }}
    """)
    check_pass(INLINE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(False)})
    assert ops(graph) == ["Neg", "Exp"]


def test_in_functions_and_loops() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <int64 n = {{3}}, bool k = {{1}}> {{
            z = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{
                co = Identity (ci)
                so = If (k) <
                    then_branch = t () => (float[2] t1) {{ a = Sin (s) t1 = Add (a, x) }},
                    else_branch = e () => (float[2] e1) {{ e1 = Neg (s) }}
                >
            }}>
            y = local.f (z)
        }}
        <opset_import: ["" : 17], domain: "local"> f (x) => (r) {{
            k = Constant <value = bool {{0}}> ()
            r = If (k) <{BRANCHES}>
        }}
    """)
    check_pass(INLINE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(True)})
    assert not any(node.op == "If" for node in ir.every_node(graph))


def test_symbolic_dimensions_at_two_bindings() -> None:
    text = f"""
        {HEAD} g (float[N] x) => (float[N] y) <bool k = {{1}}> {{
            y = If (k) <
                then_branch = t () => (float[N] t1) {{ a = Abs (x) t1 = Exp (a) }},
                else_branch = e () => (float[M] e1) {{ e1 = Concat <axis = 0> (x, x) }}
            >
        }}
    """
    for size in (1, 5):
        graph = parse(text)
        check_pass(INLINE, graph, {"x": np.arange(size, dtype=np.float32)})
        assert graph.outputs[0].shape == ["N"]


def test_refuses_a_condition_that_the_caller_may_override() -> None:
    graph = if_of(BRANCHES)
    condition = graph.nodes[0].inputs[0]
    default = condition.copy()
    variable = ir.Variable("k", np.bool_, [])
    variable.default = default
    graph.inputs.append(variable)
    graph.nodes[0].inputs[0] = variable
    check_refusal(INLINE, ir.from_proto(ir.to_proto(graph)), "the caller may override")


def test_an_unknown_condition_is_no_near_match() -> None:
    graph = parse(f"{HEAD} g (float[2] x, bool c) => (float[2] y) {{ y = If (c) <{BRANCHES}> }}")
    ctx = check_pass(INLINE, graph, {"x": np.ones(2, np.float32), "c": np.array(True)}, expect_change=False)
    assert not ctx.refusals


def test_ir_version_3_and_opset_7() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 7]>
        g (float[2] x, bool k) => (float[2] y) <bool k = {1}> {
            y = If (k) <
                then_branch = t () => (float[2] t1) { w = Constant <value = float[2] {1, 2}> () t1 = Add (x, w) },
                else_branch = e () => (float[2] e1) { e1 = Neg (x) }
            >
        }
    """)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    check_pass(INLINE, graph, {"x": np.array([1, -2], np.float32)})
    assert ops(graph) == ["Constant", "Add"]


def test_a_limit_leaves_the_rest() -> None:
    graph = if_of(BRANCHES, rest=f"q = If (k) <{BRANCHES}> y = Add (p, q)")
    changed, _ = run_pass(INLINE, graph, limit=1)
    assert changed and ops(graph) == ["Abs", "Exp", "If", "Add"]
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_thousands_of_ifs_in_linear_steps() -> None:
    """Each If is looked at once: nesting 60 deep and 2,000 beside each other end quickly."""
    nodes = []
    for index in range(2000):
        branches = [
            helper.make_graph(
                [helper.make_node(op, ["x"], ["inner"])], name, [], [helper.make_tensor_value_info("inner", 1, [2])]
            )
            for op, name in (("Exp", "t"), ("Neg", "e"))
        ]
        nodes.append(helper.make_node("If", ["k"], [f"v{index}"], then_branch=branches[0], else_branch=branches[1]))
    nodes.append(helper.make_node("Sum", [f"v{index}" for index in range(2000)], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array(True), "k")],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    changed, ctx = run_pass(INLINE, model)
    assert changed and len(ctx.rewrites) == 2000
    assert ops(model) == ["Exp"] * 2000 + ["Sum"]
    onnx.checker.check_model(ir.to_proto(model))
