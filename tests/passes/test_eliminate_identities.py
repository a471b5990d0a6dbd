"""`eliminate-identities`: a node goes when it gives out one of its inputs, bit for bit, whatever comes in."""

from __future__ import annotations

import re

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.eliminate_identities import EliminateIdentities
from onnxopt.rules.identities.table import RULES
from tests.passes.bindings import check_at
from tests.passes.checks import check_golden, check_pass, ops, parse, run, run_pass
from tests.passes.identity_models import ELIMINATE, ODD, around

NEUTRAL = [
    ("b = Identity (a)", ""),
    ("b = Dropout (a)", ""),
    ("b = Dropout (a, ratio)", "float ratio = {0.5}"),
    ("b = Dropout (a, ratio, mode)", "float ratio = {0.5}, bool mode = {0}"),
    ("b = Dropout (a, ratio, mode)", "float ratio = {0}, bool mode = {1}"),
    ("m = Constant <value = bool {0}> () b = Dropout (a, ratio, m)", "float ratio = {0.5}"),
    ("b = Transpose <perm = [0, 1]> (a)", ""),
    ("b = Reshape (a, shape)", "int64[2] shape = {0, 3}"),
    ("b = Reshape (a, shape)", "int64[2] shape = {-1, 3}"),
    ("b = Reshape (a, shape)", "int64[2] shape = {0, -1}"),
    ("b = Reshape <allowzero = 1> (a, shape)", "int64[2] shape = {-1, 3}"),
    ("s = Shape (a) b = Reshape (a, s)", ""),
    ("s = Shape (a) b = Expand (a, s)", ""),
    ("b = Expand (a, shape)", "int64[1] shape = {3}"),
    ("b = Expand (a, shape)", "int64[2] shape = {1, 1}"),
    ("b = Tile (a, counts)", "int64[2] counts = {1, 1}"),
    ("b = Pad (a, pads)", "int64[4] pads = {0, 0, 0, 0}"),
    ("b = Pad <mode = \"reflect\"> (a, pads)", "int64[4] pads = {0, 0, 0, 0}"),
    ("b = Slice (a, start, end)", "int64[1] start = {0}, int64[1] end = {9223372036854775807}"),
    ("b = Slice (a, start, end, axis, step)",
     "int64[1] start = {0}, int64[1] end = {3}, int64[1] axis = {-1}, int64[1] step = {1}"),
    ("b = Concat <axis = 1> (a)", ""),
    ("b = Sum (a)", ""),
    ("b = Max (a)", ""),
    ("b = Mean (a)", ""),
    ("b = Split <axis = 1> (a)", ""),
    ("b = Flatten (a)", ""),
    ("b = Flatten <axis = -1> (a)", ""),
    ("b = Unsqueeze (a, axes)", "int64[0] axes = {}"),
    ("b = Cast <to = 1> (a)", ""),
    ("b = CastLike (a, x)", ""),
    ("b = Mul (a, one)", "float one = {1}"),
    ("b = Mul (one, a)", "float[1,3] one = {1, 1, 1}"),
    ("b = Div (a, one)", "float[1] one = {1}"),
    ("b = Sub (a, zero)", "float zero = {0}"),
    ("b = Add (a, zero)", "float zero = {-0.0}"),
    ("b = Add (zero, a)", "float[3] zero = {-0.0, -0.0, -0.0}"),
    ("s = Shape (a) b = Resize (a, , , s)", ""),
    ("b = Resize <mode = \"linear\"> (a, , ones)", "float[2] ones = {1, 1}"),
    ("b = Gather <axis = 1> (a, all)", "int64[3] all = {0, 1, -1}"),
    ("r = Reshape (a, shape) q = ReduceMax <axes = [1]> (r) b = Reshape (q, two)",
     "int64[3] shape = {0, 1, 3}, int64[2] two = {-1, 3}"),
    ("r = Reshape (a, shape) q = ReduceProd <axes = [1], keepdims = 1> (r) b = Reshape (q, two)",
     "int64[3] shape = {0, 1, 3}, int64[2] two = {-1, 3}"),
    ("r = Reshape (a, shape) q = ReduceMin <axes = [-2]> (r) b = Reshape (q, two)",
     "int64[3] shape = {0, 1, 3}, int64[2] two = {-1, 3}"),
    ("b = ReduceSum <noop_with_empty_axes = 1> (a)", ""),
    ("c = Neg (a) b = Neg (c)", ""),
]  # fmt: skip


@pytest.mark.parametrize(("node", "weights"), NEUTRAL)
def test_nodes_that_change_no_bit_go(node: str, weights: str) -> None:
    graph = around(node, weights)
    if "Cast" in node:  # declared types of inner values count
        graph.nodes[0].outputs[0].dtype = np.dtype(np.float32)
    model = ir.to_proto(graph.copy())
    check_pass(ELIMINATE, graph, {"x": ODD})
    kept = {"Reshape"} if "r = Reshape" in node else set()
    assert set(ops(graph)) <= {"Neg", "Shape", "Constant", *kept}
    before, after = (run(proto, {"x": ODD})["y"] for proto in (model, ir.to_proto(graph)))
    assert before.tobytes() == after.tobytes()


def test_every_rule_is_tried_here() -> None:
    tried = {part.split(" (")[0].split(" <")[0] for node, _ in NEUTRAL for part in node.split(" = ")}
    below = {"Min", "Squeeze", "And", "Or", "Xor", "Upsample", "ReduceMean", "Not", "BitwiseNot", "Where"}
    assert set(RULES) - tried == below | {"Abs", "Ceil", "Clip", "Floor", "Relu", "Round", "Sign"}


@pytest.mark.parametrize(
    ("node", "weights", "data"),
    [
        ("b = Min (a)", "", "int32[n,3]"),
        ("b = Squeeze (a)", "", "int32[2,3]"),
        ("b = Add (a, zero)", "int32[1,1] zero = {0}", "int32[n,3]"),
        ("b = Div (a, one)", "int32 one = {1}", "int32[n,3]"),
        ("b = ReduceSum (a, axis)", "int64[1] axis = {1}", "int32[n,1]"),
        ("c = Not (k) d = Not (c) b = Where (d, a, a)", "bool k = {1}", "int32[n,3]"),
        ("b = Where (no, x, a)", "bool[1] no = {0}", "int32[n,3]"),
    ],
)
def test_integers(node: str, weights: str, data: str) -> None:
    graph = around(node, weights, data=data)
    graph.nodes[0].outputs[0].dtype = np.dtype(np.int32)  # declared types of inner values count
    check_pass(ELIMINATE, graph)
    assert [op for op in ops(graph) if op != "Not"] == ["Neg", "Neg"]


@pytest.mark.parametrize(
    ("op", "value", "goes"), [("And", 1, True), ("And", 0, False), ("Or", 0, True), ("Xor", 0, True)]
)
def test_booleans(op: str, value: int, goes: bool) -> None:
    graph = parse(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (bool[n] x) => (bool[n] y) <bool k = {{{value}}}> {{ a = Not (x) b = {op} (k, a) y = Not (b) }}
    """)
    check_pass(ELIMINATE, graph, {"x": np.array([True, False])}, expect_change=goes)


@pytest.mark.parametrize(
    ("opset", "node", "weights"),
    [
        (6, "b = Dropout <is_test = 1> (a)", ""),
        (9, "b = Dropout <ratio = 0.5> (a)", ""),
        (9, "b = Pad <pads = [0, 0, 0, 0]> (a)", ""),
        (9, "b = Slice <starts = [0], ends = [2147483647]> (a)", ""),
        (11, "b = Unsqueeze <axes = []> (a)", ""),
        (9, "b = Split <axis = 1> (a)", ""),
        (9, "b = Upsample (a, ones)", "float[2] ones = {1, 1}"),
        (8, "b = Upsample <scales = [1.0, 1.0]> (a)", ""),
        (10, "b = Resize (a, ones)", "float[2] ones = {1, 1}"),
    ],
)
def test_older_opsets_give_attributes_where_newer_ones_take_inputs(opset: int, node: str, weights: str) -> None:
    if "axes = []" in node:
        node = node.replace("axes = []", "axes: ints = []")
    graph = around(node, weights, opset=opset)
    assert run_pass(ELIMINATE, graph)[0] and ops(graph) == ["Neg", "Neg"]


CLAMPS = "float zero = {0}, float one = {1}, float six = {6}, float minus = {-1}, float[1] low = {-0.0}"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("c = Relu (a) b = Relu (c)", ["Relu"]),
        ("c = Clip (a, zero, six) b = Relu (c)", ["Clip"]),
        ("c = Relu (a) b = Clip (c, zero, six)", ["Clip"]),
        ("c = Relu (a) b = Clip (c, minus)", ["Relu", "Clip"]),  # which makes the largest number of inf
        ("c = Relu (a) b = Clip (c, minus, six)", ["Relu", "Clip"]),
        ("c = Clip (a, zero, one) b = Clip (c, minus, six)", ["Clip"]),
        ("c = Clip (a, minus, six) b = Clip (c, zero, one)", ["Clip"]),
        ("c = Clip (a, minus, one) b = Clip (c, zero, six)", ["Clip", "Clip"]),
        ("c = Clip (a, zero) b = Clip (c, minus)", ["Clip"]),
        ("c = Clip (a, zero) b = Relu (c)", ["Clip"]),
        ("c = Clip (a, low) b = Relu (c)", ["Clip", "Relu"]),  # of zeros, engines disagree which is the larger
        ("c = Clip (a, six, one) b = Clip (c, zero, one)", ["Clip", "Clip"]),
        ("c = Relu (a) d = Clip (c, zero, six) e = Clip (c, one) b = Add (d, e)", ["Clip", "Clip", "Add"]),
        ("c = Relu (a) d = Clip (c, zero, six) b = Add (c, d)", ["Relu", "Clip", "Add"]),
        ("c = Sigmoid (a) b = Relu (c)", ["Sigmoid"]),
        ("c = Sqrt (a) b = Relu (c)", ["Sqrt"]),
        ("c = Softmax (a) d = Transpose <perm = [1, 0]> (c) b = Relu (d)", ["Softmax", "Transpose"]),
        ("c = Exp (a) d = Relu (c) b = Abs (d)", ["Exp", "Abs"]),  # in general it makes 0.0 of -0.0
        ("c = Tanh (a) b = Relu (c)", ["Tanh", "Relu"]),
        ("c = Abs (a) b = Abs (c)", ["Abs"]),
        ("c = Ceil (a) d = Round (c) b = Floor (d)", ["Ceil"]),
        ("c = Sign (a) b = Sign (c)", ["Sign"]),
        ("c = Neg (a) d = Neg (c) b = Mul (c, d)", ["Neg", "Mul"]),
    ],
)
def test_what_a_node_after_or_before_does_anyway(body: str, left: list[str]) -> None:
    graph = around(body, CLAMPS)
    model = ir.to_proto(graph.copy())
    data = np.array([*ODD.reshape(-1), -0.5, 0.5, 7, -7, 1, -1], np.float32).reshape(4, 3)
    changed, _ = run_pass(ELIMINATE, graph)
    assert ops(graph)[1:-1] == left and changed == (len(left) < len(re.findall(r"= [A-Z]", body)))
    before, after = (run(proto, {"x": data})["y"] for proto in (model, ir.to_proto(graph)))
    assert before.tobytes() == after.tobytes()


def test_symbolic_dimensions_that_must_be_the_same() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,3] x, float[n,3] z) => (float[p,q] y)
        <int64[1] zero = {0}, int64[1] big = {3}, int64[2] ones = {1, 1}> {
            a = Neg (x) s = Shape (z) n = Shape <start = 0, end = 1> (z)
            b = Reshape (a, s) c = Expand (b, s) d = Slice (c, zero, n, zero) t = Concat <axis = 0> (n, big)
            e = Reshape (d, t) f = Expand (e, ones) y = Neg (f)
        }
    """)
    check_at(ELIMINATE, graph, {"n": 2}, {"n": 3}, {"n": 0})
    assert ops(graph) == ["Neg", "Shape", "Shape", "Concat", "Neg"]


def test_golden_chain_that_names_an_output() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n,3] x) => (float[n,3] y) <float one = {1}> {
            a = Relu (x)
            b = Identity (a)
            c = Mul (b, one)
            d, mask = Dropout (c)
            y = Transpose <perm = [0, 1]> (d)
            unread = Neg (d)
        }
    """)
    check_golden(ELIMINATE, graph, "the node before takes over the output's name")


def test_golden_subgraphs_and_functions() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x, bool c) => (float[2] y) {
            outer = Neg (x)
            p = If (c) <
                then_branch = t () => (float[2] t1) { t0 = Identity (outer) t1 = Abs (t0) },
                else_branch = e () => (float[2] e1) { e1 = Identity (outer) }
            >
            y = local.f (p)
        }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {
            k = Constant <value = float {1}> () m = Mul (a, k) n = Neg (m) b = Identity (n)
        }
    """)
    check_golden(ELIMINATE, graph, "a branch cannot give out an outer value")


def test_sequences_and_optionals_pass_through_too() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) <int64 zero = {0}> {
            s = SequenceConstruct (x, x)
            t = Identity (s)
            o = Optional (t)
            p = Identity (o)
            q = OptionalGetElement (p)
            r = SequenceAt (q, zero)
            y = Neg (r)
        }
    """)
    check_pass(ELIMINATE, graph)
    assert "Identity" not in ops(graph)


def test_one_removal_may_make_another_certain() -> None:
    graph = around("p = Pad (a, pads) b = Reshape (p, shape)", "int64[4] pads = {0, 0, 0, 0}, int64[2] shape = {-1, 3}")
    check_pass(ELIMINATE, graph)
    assert ops(graph) == ["Neg", "Neg"]


def test_an_output_keeps_its_declaration() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (float[batch,3] y) { a = Relu (x) y = Identity (a) }
    """)
    check_pass(ELIMINATE, graph)
    assert graph.outputs[0].name == "y" and graph.outputs[0].shape == ["batch", 3]


def test_only_the_operators_asked_for() -> None:
    graph = around("p = Identity (a) b = Transpose <perm = [0, 1]> (p)")
    check_pass(EliminateIdentities(ops=("Transpose",)), graph)
    assert ops(graph) == ["Neg", "Identity", "Neg"]


@pytest.mark.parametrize("limit", range(4))
def test_each_removal_is_one_rewrite(limit: int) -> None:
    graph = around("p = Identity (a) q = Identity (p) b = Identity (q)")
    changed, ctx = run_pass(ELIMINATE, graph, limit=limit)
    assert len(ctx.rewrites) == limit and changed == bool(limit)
    assert ops(graph).count("Identity") == 3 - limit
