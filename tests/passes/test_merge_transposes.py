"""`merge-transposes`: Transposes of Transposes."""

from __future__ import annotations

import onnx
import pytest

from onnxopt import ir
from onnxopt.passes.merge_transposes import MergeTransposes
from tests.passes.checks import assert_equal_outputs, check_golden, check_pass, count_ops, parse, run, run_pass
from tests.passes.random_transposes import random_transposes

MERGE = MergeTransposes()


def model(nodes: str, outputs: str = "float[p,q,r] y", opset: int = 17) -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[n,4,5] x) => ({outputs}) {{ s = Neg (x) {nodes} }}
    """)


def test_golden() -> None:
    check_golden(
        MERGE, model("[a] a = Transpose <perm = [0, 2, 1]> (s) [b] y = Transpose <perm = [1, 0, 2]> (a)"), "two"
    )


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("a = Transpose <perm = [0, 2, 1]> (s) b = Transpose <perm = [0, 2, 1]> (a) y = Relu (b)", 0),
        ("a = Transpose (s) b = Transpose (a) y = Relu (b)", 0),
        ("a = Transpose <perm = [0, 1, 2]> (s) y = Relu (a)", 0),
        ("a = Transpose <perm = [1, 2, 0]> (s) b = Transpose <perm = [1, 2, 0]> (a) y = Relu (b)", 1),
        ("a = Transpose <perm = [1, 2, 0]> (s) b = Transpose <perm = [1, 2, 0]> (a)"
         " c = Transpose <perm = [1, 2, 0]> (b) y = Relu (c)", 0),
        ("a = Transpose <perm = [0, 2, 1]> (s) b = Transpose <perm = [0, 2, 1]> (s) y = Add (a, b)", 1),
        ("a = Transpose <perm = [0, 2, 1]> (s) b = Transpose <perm = [0, 2, 1]> (a) c = Relu (a)"
         " d = Transpose <perm = [0, 2, 1]> (c) y = Add (b, d)", 2),
    ],
)  # fmt: skip
def test_fewer_are_left(nodes: str, expected: int) -> None:
    graph = model(nodes)
    check_pass(MERGE, graph)
    assert count_ops(graph)["Transpose"] == expected


def test_several_upon_one_do_without_it() -> None:
    graph = model(
        "a = Transpose <perm = [1, 2, 0]> (s) y = Transpose <perm = [0, 2, 1]> (a) z = Transpose (a)",
        "float[p,q,r] y, float[i,j,k] z",
    )
    check_pass(MERGE, graph)
    assert count_ops(graph)["Transpose"] == 2


def test_nothing_is_done_that_leaves_as_many() -> None:
    graph = model(
        "a = Transpose <perm = [1, 2, 0]> (s) y = Transpose <perm = [0, 2, 1]> (a) z = Relu (a)",
        "float[p,q,r] y, float[i,j,k] z",
    )
    check_pass(MERGE, graph, expect_change=False)


def test_outputs_keep_their_names() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[2,3] y) { a = Transpose (x) y = Transpose (a) }
    """)
    check_pass(MERGE, graph)
    assert count_ops(graph) == {"Identity": 1}  # an input cannot be an output
    graph = model("a = Transpose (s) y = Transpose (a)")
    check_pass(MERGE, graph)
    assert [node.op for node in graph.nodes] == ["Neg"] and graph.nodes[0].outputs[0].name == "y"


def test_reversing_axes_whose_number_is_not_certain() -> None:
    graph = parse("""
        <ir_version: 9, opset_import: ["" : 17, "local" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = local.f (x) }
        <opset_import: ["" : 17], domain: "local"> f (u) => (v) { a = Transpose (u) v = Transpose (a) }
    """)
    check_pass(MERGE, graph, expect_change=False)


def test_scopes_are_not_mixed() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, bool c) => (float[2,3] y) {
            o = Transpose (x)
            y = If (c) <
                then_branch = t () => (float[2,3] t1) { t1 = Transpose <perm = [1, 0]> (o) },
                else_branch = e () => (float[2,3] e1) { a = Transpose (o) b = Transpose (a) e1 = Transpose (b) }
            >
        }
    """)
    changed, _ = run_pass(MERGE, graph)
    assert changed and count_ops(graph)["Transpose"] == 3


def test_nothing_is_done_that_is_not_allowed() -> None:
    graph = model("a = Transpose (s) b = Transpose (a) y = Relu (b)")
    changed, ctx = run_pass(MERGE, graph, limit=0)
    assert not changed and not ctx.rewrites


@pytest.mark.parametrize("seed", range(1000, 1060))
def test_random_chains(seed: int) -> None:
    proto, feeds = random_transposes(seed)
    graph = ir.from_proto(proto)
    nodes = len(graph.nodes)
    run_pass(MERGE, graph)
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    assert_equal_outputs(run(proto, feeds), run(after, feeds), MERGE.preserves)
    assert len(graph.nodes) <= nodes and not run_pass(MERGE, graph)[0]
