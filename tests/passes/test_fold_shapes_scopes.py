"""`fold-shapes` in subgraphs, loop bodies and functions."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import check_pass, ops, parse
from tests.passes.shape_models import FOLD, HEADS, INTS, check, target


def test_a_branch_sees_the_shapes_around_it() -> None:
    graph = parse(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,m,8] x, bool c) => (float[a,b,d,e] y) <{INTS}> {{
            h = Neg (x)
            y = If (c) <
                then_branch = t () => (float[a,b,d,e] p) {{ {HEADS} }},
                else_branch = e () => (float[a,b,d,e] q) {{ q = Unsqueeze (h, axis) }}
            >
        }}""")
    check(graph)
    assert target(graph) == [0, 0, 2, 4]
    assert [node.op for node in next(graph.subgraphs()).nodes] == ["Reshape", "Transpose"]


def test_the_body_of_a_loop_is_not_certain() -> None:
    graph = parse(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,8] x, int64 trips, bool c) => (float[a,b] y) <{INTS}> {{
            y = Loop (trips, c, x) <body = l (int64 i, bool ci, float[k,8] v) => (bool co, float[q,8] w) {{
                s = Shape (v) b = Gather (s, zero) b1 = Unsqueeze (b, axis) t = Concat <axis = 0> (b1, minus)
                r = Reshape (v, t) w = Concat <axis = 0> (r, r) co = Identity (ci)
            }}>
        }}""")
    check_pass(FOLD, graph, {"x": np.ones((2, 8), np.float32), "trips": np.array(2), "c": np.array(True)},
               expect_change=False)  # fmt: skip


def test_functions_gain_no_nodes() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[n,8] x) => (float[n,8] y) { y = local.f (x) }
        <domain: "local", opset_import: ["" : 17]> f (a) => (c) {
            two = Constant <value = int64[2] {2, 4}> () k = ConstantOfShape <value = float[1] {1}> (two) s = Shape (k)
            p = ReduceProd <keepdims = 0> (s) q = Cast <to = 1> (p) c = Mul (a, q)
        }""")
    ctx = check_pass(FOLD, graph, {"x": np.ones((2, 8), np.float32)})
    assert [node.op for node in graph.functions[0].nodes][-2:] == ["Cast", "Mul"]
    assert len(ir.to_proto(graph).functions[0].node) <= 6 and ctx.rewrites


def test_a_branch_of_an_old_file_has_no_initializers() -> None:
    graph = parse(f"""
        <ir_version: 3, opset_import: ["" : 13]>
        g (float[n,m,8] x, bool c, int64 zero, int64 one, int64[1] axis, int64[1] minus, int64[1] size)
            => (float[a,b,d,e] y) <{INTS}> {{
            h = Neg (x)
            y = If (c) <
                then_branch = t () => (float[a,b,d,e] p) {{ {HEADS} }},
                else_branch = e () => (float[a,b,d,e] q) {{ q = Unsqueeze (h, axis) }}
            >
        }}""")
    nodes = sum(1 for _ in ir.every_node(graph))
    check_pass(FOLD, graph, {"x": np.ones((2, 3, 8), np.float32), "c": np.array(True)})
    assert [node.op for node in next(graph.subgraphs()).nodes] == ["Constant", "Reshape", "Transpose"]
    assert sum(1 for _ in ir.every_node(graph)) < nodes


@pytest.mark.parametrize("opset", [8, 9])
def test_a_target_in_a_body_is_no_node_where_constants_have_no_integers(opset: int) -> None:
    graph = parse(f"""<ir_version: 3, opset_import: ["" : {opset}]>
        g (float[n,8] x, bool go, int64 i, int64[2] f, int64[3] z) => (float[p,q,r] y)
        <int64 i = {{0}}, int64[2] f = {{2, 4}}, int64[3] z = {{0, 2, 4}}> {{
            y = If (go) <then_branch: graph = t () => (float[b,c,d] v) {{
                s = Shape (x) k = Gather <axis = 0> (s, i) u = Unsqueeze <axes = [0]> (k)
                t = Concat <axis = 0> (u, f) v = Reshape (x, t)
            }}, else_branch: graph = e () => (float[b,c,d] w) {{ w = Reshape (x, z) }}>
        }}""")
    check_pass(FOLD, graph, {"x": np.ones((3, 8), np.float32), "go": np.array(True)})
    (then_branch,) = (body for body in graph.subgraphs() if body.name == "t")
    assert target(then_branch) == [0, 2, 4]
    assert ops(then_branch) == (["Reshape"] if opset == 8 else ["Constant", "Reshape"])
