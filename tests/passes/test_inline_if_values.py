"""`inline-if`: names, outputs and what is said of nodes survive the move out of a branch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from tests.passes.checks import check_pass, ops, parse, run, run_pass
from tests.passes.if_models import BRANCHES, HEAD, INLINE, if_of


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
