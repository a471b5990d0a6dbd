"""`inline-if`: the branch taken stands in the place of the If, and the model computes what it did."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.passes.inline_if import InlineIf
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run, run_pass

INLINE = InlineIf()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
BRANCHES = """then_branch = t () => (float[2] t1) { a = Abs (x) t1 = Exp (a) },
              else_branch = e () => (float[2] e1) { a = Neg (x) e1 = Exp (a) }"""


def ops(graph: ir.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def if_of(branches: str, condition: str = "1", head: str = HEAD, rest: str = "y = Identity (p)") -> ir.Graph:
    return parse(f"""
        {head} g (float[2] x, bool c) => (float[2] y) <bool k = {{{condition}}}> {{ p = If (k) <{branches}> {rest} }}
    """)


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


def test_names_of_the_branch_stay_unless_something_else_has_them() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <bool k = {{1}}> {{
            a = Sin (x)
            q = If (c) <
                then_branch = t () => (float[2] t2) {{ w = Neg (a) t2 = Abs (w) }},
                else_branch = e () => (float[2] e2) {{ only = Neg (a) e2 = Exp (only) }}
            >
            p = If (k) <
                then_branch = t () => (float[2] t1) <float[2] w = {{1, 2}}> {{
                    only = Neg (x) f = Add (only, w) t1 = Exp (f)
                }},
                else_branch = e () => (float[2] e1) {{ f = Neg (x) e1 = Exp (f) }}
            >
            y = Sum (a, q, p)
        }}
    """)
    check_pass(INLINE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(False)})
    made = [output.name for node in graph.nodes for output in node.outputs]
    assert made == ["a", "q", "only_1", "f", "p", "y"]  # `f` was in the other branch too, which is gone
    names = [output.name for node in ir.every_node(graph) for output in node.outputs]
    assert len(names) == len(set(names))
    assert graph.nodes[3].inputs[1].name not in names


def test_what_a_branch_gives_out_from_elsewhere() -> None:
    """An outer value, an initializer, one value twice: as graph outputs and inside."""
    for rest, nodes in (("a = Add (p, q) b = Add (r, s)", 6), ("a = Identity (p) b = Identity (q)", 6)):
        model = parse(f"""
            {HEAD} g (float[2] x) => (float[2] a, float[2] b, float[2] r, float[2] s) <bool k = {{1}}> {{
                outer = Abs (x)
                p, q, r, s = If (k) <
                    then_branch = t () => (float[2] outer, float[2] w, float[2] t1, float[2] t1) <float[2] w = {{1, 2}}>
                        {{ t1 = Exp (x) }},
                    else_branch = e () => (float[2] e1, float[2] e2, float[2] e3, float[2] e4)
                        {{ e1 = Neg (x) e2 = Neg (x) e3 = Neg (x) e4 = Neg (x) }}
                >
                {rest}
            }}
        """)
        run_pass(INLINE, model)  # onnxruntime refuses branches that give out outer values, so compare with the formula
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        x = np.array([1, -2], np.float32)
        found = run(ir.to_proto(model), {"x": x})
        p, q, r = np.abs(x), np.array([1, 2], np.float32), np.exp(x)
        expected = [p + q, r + r, r, r] if "Add" in rest else [p, q, r, r]
        assert [tensor.name for tensor in model.outputs] == ["a", "b", "r", "s"]
        for one, other in zip(expected, found.values(), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6)
        assert len(model.nodes) == nodes - 1


def test_outputs_of_the_graph_that_a_branch_takes_from_outside() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] p, float[2] q) <bool k = {{1}}, float[2] w = {{1, 2}}> {{
            p, q = If (k) <
                then_branch = t () => (float[2] t1, float[2] t2) {{ t1 = Identity (x) t2 = Identity (w) }},
                else_branch = e () => (float[2] e1, float[2] e2) {{ e1 = Neg (x) e2 = Neg (x) }}
            >
        }}
    """)
    check_pass(INLINE, graph)
    assert [tensor.name for tensor in graph.outputs] == ["p", "q"]


def test_a_value_that_an_inner_branch_gives_out_too() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y, float[2] p) <bool k = {{1}}> {{
            p, q = If (k) <
                then_branch = t () => (float[2] t1, float[2] t2) {{
                    t1 = Exp (x)
                    t2 = If (c) <
                        then_branch = t () => (float[2] t3) {{ t3 = Identity (t1) }},
                        else_branch = e () => (float[2] e3) {{ e3 = Abs (t1) }}
                    >
                }},
                else_branch = e () => (float[2] e1, float[2] e2) {{ e1 = Neg (x) e2 = Neg (x) }}
            >
            y = Add (p, q)
        }}
    """)
    for value in (False, True):
        check_pass(INLINE, graph.copy(), {"x": np.array([1, -2], np.float32), "c": np.array(value)})


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


def test_sequences_and_optionals() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y, seq(float[2]) s) <bool k = {{1}}, int64 i = {{0}}> {{
            s, t = If (k) <
                then_branch = t () => (seq(float[2]) t1, seq(float[2]) t2) {{
                    t1 = SequenceConstruct (x) t2 = Identity (t1)
                }},
                else_branch = e () => (seq(float[2]) e1, seq(float[2]) e2) {{
                    e1 = SequenceConstruct (x, x) e2 = SequenceEmpty ()
                }}
            >
            y = SequenceAt (t, i)
        }}
    """)
    run_pass(INLINE, graph)
    model = ir.to_proto(graph)
    onnx.checker.check_model(model, full_check=True)
    assert ops(graph) == ["SequenceConstruct", "Identity", "SequenceAt"]


def test_refuses_an_identity_of_a_sequence_before_there_was_one() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 13]>
        g (seq(float[2]) x) => (seq(float[2]) y) <bool k = {1}> {
            y = If (k) <
                then_branch = t () => (seq(float[2]) x) {},
                else_branch = e () => (seq(float[2]) e1) { e1 = SequenceEmpty () }
            >
        }
    """)
    changed, ctx = run_pass(INLINE, graph)
    assert not changed
    assert "no Identity takes in opset 13" in ctx.refusals[0].what


@pytest.mark.parametrize(("one", "changes"), [("int64[1] one = {1}", False), ("int64 one = {1}", True)])
def test_refuses_to_show_the_checker_a_range_of_no_scalar(one: str, changes: bool) -> None:
    """onnx's own AffineGrid is written out like that: the checker refuses it once it sees the shape."""
    graph = parse(f"""
        {HEAD} g (int64 x) => (int64[n] y) <bool k = {{1}}, int64 zero = {{0}}, {one}> {{
            p = If (k) <
                then_branch = t () => (t1) {{ t1 = Identity (one) }}, else_branch = e () => (e1) {{ e1 = Neg (x) }}
            >
            q = Mul (p, p)
            y = Range (zero, q, x)
        }}
    """)
    changed, ctx = run_pass(INLINE, graph)
    assert changed is changes
    assert changes or "'t1' is not certain to be a scalar, which Range -> y needs" in ctx.refusals[0].what
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


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


def test_annotations_follow_the_names() -> None:
    graph = if_of(BRANCHES, rest="a = Sin (x) y = Add (p, a)")
    branch = graph.nodes[0].attrs["then_branch"]
    for name in ("a", "t1"):
        branch.quantization_annotation.append(onnx.TensorAnnotation(tensor_name=name))
    run_pass(INLINE, graph)
    assert [entry.tensor_name for entry in graph.quantization_annotation] == ["a_1", "p"]


def test_nodes_keep_what_the_file_says_of_them() -> None:
    graph = if_of(BRANCHES)
    inner = graph.nodes[0].attrs["then_branch"].nodes[1]
    inner.name, inner.doc_string = "the_exp", "why"
    inner.metadata_props["k"] = "v"
    run_pass(INLINE, graph)
    node = graph.nodes[1]
    assert (node.name, node.doc_string, node.metadata_props) == ("the_exp", "why", {"k": "v"})


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


RANK_HEAD = """<ir_version: 10, opset_import: ["" : 17, "local" : 1]> g (float[1,b,3] x, bool c) => (float[1,1,b,2] y) <
    float[1,8,3] w = {-0.5, 0.1, 0.3, 0.2, 0.4, -0.1, 0.7, 0.6, 0.5, -0.3, -0.2, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6,
                      0.7, -0.8, -0.9, 0.3, 0.2, 0.1},
    float[1,8,2] r = {0.5, 0.1, 0.3, -0.2, 0.4, -0.1, 0.7, 0.6, 0.5, -0.3, -0.2, 0.9, 0.1, 0.2, 0.3, 0.4},
    int64[1] zero = {0}, int64[1] two = {2}, int64 rank = {2}
>"""
LSTM = "y, h = LSTM <hidden_size = 2> (a, w, r)"
MATRIX = """m = If (c) <
    then_branch = t () => (float[b,3] t1) <int64[1] n = {0}> { t1 = Squeeze (x, n) },
    else_branch = e () => (float[1,b,3] e1) { e1 = Identity (x) }
>"""


def sequence(body: str, head: str = RANK_HEAD) -> ir.Graph:
    return parse(f"{head} {{ {body} }}")


def rank_feeds(c: bool) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32), "c": np.array(c)}


def test_a_branch_of_a_rank_that_an_lstm_does_not_take_is_never_taken() -> None:
    # torch's LSTMCell, of which the exporter did not know whether its input is a batch: with c false the run fails.
    graph = sequence(f"{MATRIX} a = Unsqueeze (m, zero) {LSTM}")
    ctx = check_pass(INLINE, graph, rank_feeds(True))
    assert ops(graph) == ["Squeeze", "Unsqueeze", "LSTM"]
    assert any("takes no value of the rank that its else branch gives" in rewrite.what for rewrite in ctx.rewrites)


def test_ranks_decide_ifs_one_after_the_other() -> None:
    graph = sequence(f"""
        {MATRIX} s = Shape (m) n = Size (s) is_batch = Equal (n, rank) single = Not (is_batch)
        p = If (single) <
            then_branch = t () => (float[k,j,3] t2) <int64[1] z = {{0}}> {{ t2 = Unsqueeze (m, z) }},
            else_branch = e () => (float[b,3] e2) {{ e2 = Identity (m) }}
        >
        q = Relu (p) a = Unsqueeze (q, zero) {LSTM}
    """)
    check_golden(INLINE, graph, "ranks that an LSTM does not take")
    assert "If" not in ops(graph)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{MATRIX} a = Identity (x) m2 = Identity (m) {LSTM}", id="nobody demands a rank"),
        pytest.param(f"""{MATRIX} a = Identity (x) m2 = Unsqueeze (m, zero) u, v = LSTM <hidden_size = 2> (m2, w, r)
            {LSTM}""", id="the reader is not needed: a runtime leaves it out"),
        pytest.param(f"""{MATRIX} y = If (c) <
            then_branch = t () => (float[1,1,b,2] t2) <int64[1] z = {{0}}> {{
                a = Unsqueeze (m, z) t2, h = LSTM <hidden_size = 2> (a, w, r)
            }},
            else_branch = e () => (float[1,1,b,2] e2) {{ e2, h = LSTM <hidden_size = 2> (m, w, r) }}
        >""", id="the readers are in branches, which are not always taken"),
        pytest.param(f"""m = If (c) <
            then_branch = t () => (float t1) {{ t1 = Squeeze (x) }},
            else_branch = e () => (float[1,b,3] e1) {{ e1 = Identity (x) }}
        > a = Identity (m) {LSTM}""", id="a branch of unknown rank"),
    ],
)  # fmt: skip
def test_ranks_that_decide_nothing(body: str) -> None:
    graph = sequence(body)
    before = ir.to_text(graph)
    changed, _ = run_pass(INLINE, graph)
    assert not changed and ir.to_text(graph) == before


def test_ranks_in_a_branch_and_not_in_a_function() -> None:
    inner = f"{MATRIX} a = Unsqueeze (m, zero) {LSTM.replace('y,', 't1,')}"
    graph = sequence(
        f"""y = If (c) <
        then_branch = tb () => (float[1,1,b,2] t1) {{ {inner.replace("(c)", "(d)")} }},
        else_branch = eb () => (float[1,1,b,2] e1) {{ e1, h = LSTM <hidden_size = 2> (x, w, r) }}
    >""".replace("y = If", "d = Identity (c) y = If")
    )
    check_pass(INLINE, graph, rank_feeds(False))
    assert [node.op for node in graph.nodes[1].attrs["then_branch"].nodes] == ["Squeeze", "Unsqueeze", "LSTM"]
    model = f"""{RANK_HEAD} {{ y = local.f (x, c, w, r) }}
        <domain: "local", opset_import: ["" : 17]> f (x, c, w, r) => (y) {{
            zero = Constant <value_ints = [0]> ()
            {MATRIX.replace("float[b,3]", "float[p,3]").replace("float[1,b,3]", "float[1,p,3]")}
            a = Unsqueeze (m, zero) {LSTM}
        }}"""
    graph = parse(model)
    assert not run_pass(INLINE, graph)[0]
