"""`merge-arithmetic`: arithmetic with constants in a row takes as few nodes as it can."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnxopt import ir
from onnxopt.passes.merge_arithmetic import MergeArithmetic
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, random_feeds, run, run_pass
from tests.passes.random_weights import ops, random_model, random_proto

MERGE = MergeArithmetic()
WEIGHTS = "float a, float[3] b, float[2,1] vard, float[1,1] e, float[2,3] varw"


def arithmetic(body: str, *, data: str = "float[2,3] x", opset: int = 17, weights: str = WEIGHTS) -> ir.Graph:
    return random_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({data}) => (float[n,m] y) <{weights}> {{ {body} }}'
    )


def test_golden() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y, float[2] z)
        <float two = {2}, float four = {4}, float[2] shift = {1, 3}>
        {
            [half] a = Div (x, two)
            [move] b = Add (a, shift)
            [scale] y = Mul (four, b)
            c = Relu (x)
            [negate] d = Neg (c)
            [back] e = Sub (two, d)
            [last] z = Sub (e, four)
        }
    """)
    check_golden(MERGE, graph.copy(), "scale, shift, scale; negation and shifts")
    check_pass(MERGE, graph)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("p = Mul (x, a) y = Mul (b, p)", ["Mul"]),
        ("p = Add (x, a) y = Add (p, b)", ["Add"]),
        ("p = Add (x, a) y = Sub (p, b)", ["Add"]),
        ("p = Div (x, vard) y = Div (p, varw)", ["Div"]),
        ("p = Div (x, vard) y = Mul (p, b)", ["Mul"]),
        ("p = Neg (x) y = Add (b, p)", ["Sub"]),
        ("p = Sub (b, x) y = Neg (p)", ["Add"]),
        ("p = Sub (b, x) y = Sub (a, p)", ["Add"]),
        ("p = Mul (x, a) y = Neg (p)", ["Mul"]),
        ("p = Add (x, a) q = Mul (p, b) y = Add (q, vard)", ["Mul", "Add"]),
        ("p = Mul (x, a) q = Add (p, b) y = Div (q, vard)", ["Mul", "Add"]),
        ("p = Mul (x, a) q = Add (p, b) r = Neg (q) s = Sub (vard, r) y = Mul (s, e)", ["Mul", "Add"]),
    ],
)
@pytest.mark.parametrize("opset", [7, 13, 21])
def test_merged(body: str, expected: list[str], opset: int) -> None:
    graph = arithmetic(body, opset=opset)
    check_pass(MERGE, graph)
    assert ops(graph) == expected


@pytest.mark.parametrize("body", ["p = Add (x, a) y = Mul (p, b)", "p = Mul (x, a) y = Add (p, b)", "y = Sub (a, x)"])
def test_what_is_short_already_stays(body: str) -> None:
    assert not check_pass(MERGE, arithmetic(body), expect_change=False).refusals


def test_the_shape_that_a_constant_gives_is_kept() -> None:
    for body in ("p = Add (x, w) y = Sub (p, w)", "p = Mul (x, one) y = Mul (p, one)", "p = Neg (x) y = Sub (zero, p)"):
        proto = random_proto(
            f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[n,m] y) '
            f"<float[4,3] w, float[4,3] one, float[4,3] zero> {{ {body} }}"
        )
        for tensor in proto.graph.initializer[1:]:
            value = np.full((4, 3), tensor.name == "one", np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        feeds = random_feeds(proto)
        before = run(proto, feeds)["y"]
        graph = ir.from_proto(proto)
        run_pass(MERGE, graph)
        after = run(ir.to_proto(graph), feeds)["y"]
        assert before.shape == after.shape == (4, 3)
        np.testing.assert_allclose(before, after, rtol=1e-5)


def numbers(body: str, kind: str = "float", **values: float | str) -> ir.Graph:
    """A model of these constants; those of float16 as their bits, as the textual syntax has it."""
    constants = ", ".join(f"{kind} {name} = {{{value}}}" for name, value in values.items())
    return parse(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({kind}[2,3] x) => ({kind}[2,3] y) <{constants}> {{ {body} }}'
    )


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (numbers("p = Add (x, magic) y = Sub (p, magic)", magic=12582912), "its terms cancel"),
        (numbers("p = Mul (x, k) q = Add (p, m) y = Sub (q, m)", k=4, m=8388608), "its terms cancel"),
        (numbers("p = Add (x, m) y = Sub (p, m)", kind="float16", m=0x6400), "its terms cancel"),
        (numbers("p = Mul (x, k) y = Mul (p, k)", k="1e30"), "not be finite in float32"),
        (numbers("p = Mul (x, k) y = Mul (p, k)", k="1e-30"), "would lose digits in float32"),
        (numbers("p = Mul (x, k) y = Mul (p, k)", kind="float16", k=0x1419), "would lose digits in float16"),
        (numbers("p = Div (x, k) y = Div (p, k)", k="1.05e-19"), "the factor would lose digits in float32"),
        (numbers("p = Div (x, k) y = Mul (p, k)", k="1e-42"), "overflows on the way"),
        (numbers("p = Div (x, k) y = Mul (p, k)", k="1e-25"), "overflows on the way"),
        (numbers("p = Mul (x, k) y = Div (p, k)", k="1e-25"), "vanishes on the way"),
        (numbers("p = Mul (x, k) q = Add (p, l) y = Div (q, k)", k="1e-25", l=1), "vanishes on the way"),
        (numbers("p = Mul (x, k) y = Div (p, k)", kind="float16", k=0x6000), "overflows on the way"),
        (numbers("p = Mul (x, k) y = Div (p, k)", kind="double", k="1e160"), "overflows on the way"),
        (numbers("p = Div (x, k) y = Neg (p)", k="1e-42"), "not be finite in float32"),
        (numbers("p = Neg (x) q = Div (p, k) y = Neg (q)", k="1e-42"), "not be finite in float32"),
        (numbers("p = Add (x, k) y = Mul (p, l)", k="2e38", l="1e-30"), "a term of up to 2e+38"),
        (numbers("p = Add (x, k) y = Sub (p, l)", k="2e38", l="1e38"), "a term of up to 2e+38"),
        (numbers("p = Add (x, k) y = Sub (p, l)", kind="float16", k=0x7800, l=0x7000), "a term of up to 32768"),
        (numbers("p = Sub (l, x) q = Mul (p, k) y = Add (q, l)", k="3e38", l=1), "a term of up to 3e+38"),
    ],
)
def test_numbers_that_stay(graph: ir.Graph, reason: str) -> None:
    changed, ctx = run_pass(MERGE, graph)
    assert not changed and any(reason in said.what for said in ctx.refusals), ctx.refusals


@pytest.mark.parametrize(
    ("body", "kind", "constants", "expected"),
    [
        ("p = Mul (x, k) y = Mul (p, k)", "float", {"k": "1e18"}, ["Mul"]),
        ("p = Div (x, k) y = Div (p, k)", "float", {"k": "1e18"}, ["Div"]),
        ("p = Mul (x, k) y = Div (p, k)", "float", {"k": "1e18"}, ["Mul"]),
        ("p = Add (x, k) y = Add (p, k)", "float", {"k": "1e38"}, ["Add"]),
        ("p = Mul (x, k) y = Mul (p, k)", "float16", {"k": 0x5800}, ["Mul"]),
    ],
)
def test_what_overflows_and_vanishes_as_before_is_merged(
    body: str, kind: str, constants: dict[str, int | str], expected: list[str]
) -> None:
    graph = numbers(body, kind=kind, **constants)
    before = ir.to_proto(graph.copy())
    run_pass(MERGE, graph)
    assert ops(graph) == expected
    scales = [0, 1e-3, 1, 200] if kind == "float16" else [0, 1e-15, 1, 1e15]
    dtype = graph.inputs[0].dtype
    for scale in scales:
        given = {"x": (np.arange(-2, 4).reshape(2, 3) * scale).astype(dtype)}
        one, other = run(before, given)["y"], run(ir.to_proto(graph), given)["y"]
        np.testing.assert_allclose(one, other, rtol=2e-3 if kind == "float16" else 1e-6)


def test_infinities_stay() -> None:
    proto = random_proto(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y) <float[3] mask, float k> '
        "{ a = Mul (x, k) b = Mul (a, k) p = Add (b, mask) c = Add (p, k) y = Add (c, k) }"
    )
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([0, -np.inf, 0], np.float32), "mask"))
    graph = ir.from_proto(proto)
    ctx = check_pass(MERGE, graph)
    assert ops(graph) == ["Mul", "Add", "Add"]
    assert any("'mask' is not finite" in said.what for said in ctx.refusals)


def test_weights_do_not_grow() -> None:
    graph = arithmetic(
        "p = Add (x, big) q = Add (p, a) z = Relu (big) r = Concat <axis = 0> (q, z) y = Relu (r)",
        data="float[40,30] x",
        weights="float[40,30] big, float a",
    )
    check_refusal(MERGE, graph, "make the weights 4,800 bytes larger")
    graph = arithmetic(
        "p = Mul (x, row) y = Mul (p, column)", data="float[40,30] x", weights="float[40,1] column, float[1,30] row"
    )
    check_refusal(MERGE, graph, "bytes larger")


def test_a_large_constant_of_its_own_is_merged() -> None:
    graph = arithmetic("p = Add (x, big) y = Add (p, a)", data="float[40,30] x", weights="float[40,30] big, float a")
    check_pass(MERGE, graph)
    assert ops(graph) == ["Add"]


def test_an_unchanged_constant_is_not_written_anew() -> None:
    graph = arithmetic("p = Mul (x, a) q = Add (p, b) y = Add (q, b)")
    a = graph.nodes[0].inputs[1]
    check_pass(MERGE, graph)
    assert graph.nodes[0].inputs[1] is a


ATTENTION = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,4,3] q, float[1,2,3,4] k, float[1,2,4,4] mask)
    => (float[1,2,4,4] y) <float s, float t> {{
        scores = MatMul (q, k) a = Mul (scores, s) b = Div (a, t) {rest} }}"""


@pytest.mark.parametrize("rest", ["c = Add (b, mask) y = Softmax (c)", "y = Softmax (b)"])
def test_the_scale_of_attention_stays_where_the_engine_looks_for_it(rest: str) -> None:
    check_refusal(MERGE, random_model(ATTENTION.format(rest=rest)), "attention")
    changed, _ = run_pass(MERGE, random_model(ATTENTION.format(rest=rest)), target="qnn")
    assert changed
    changed, _ = run_pass(MERGE, random_model(ATTENTION.format(rest="y = Relu (b)")))
    assert changed


def test_outputs_and_other_readers_end_a_chain() -> None:
    graph = random_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y, float[2,3] p) <float a> '
        "{ p = Mul (x, a) y = Mul (p, a) }"
    )
    check_pass(MERGE, graph, expect_change=False)
    check_pass(MERGE, arithmetic("p = Mul (x, a) q = Mul (p, a) y = Add (p, q)"), expect_change=False)


def test_defaults_and_integers_are_no_constants_here() -> None:
    proto = random_proto(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y) <float a> '
        "{ p = Mul (x, a) y = Mul (p, a) }"
    )
    proto.graph.input.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, []))
    check_pass(MERGE, ir.from_proto(proto), expect_change=False)
    graph = parse("""<ir_version: 8, opset_import: ["" : 17]> g (int64[2] x) => (int64[2] y) <int64 a = {3}>
        { p = Mul (x, a) y = Mul (p, a) }""")
    check_pass(MERGE, graph, expect_change=False)


def test_opset_6_is_left_alone() -> None:
    graph = arithmetic("p = Mul <broadcast = 1> (x, a) y = Mul <broadcast = 1> (p, a)", opset=6)
    changed, _ = run_pass(MERGE, graph)
    assert not changed


def test_in_a_subgraph_and_a_function() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x, bool which) => (float[2] y) <float two = {2}> {
            above = Mul (x, two)
            a = If (which) <
                then_branch = then () => (float[2] t) { p = Mul (above, two) t = Mul (p, two) },
                else_branch = other () => (float[2] e) { e = Identity (x) }
            >
            y = local.block (a)
        }
        <domain: "local", opset_import: ["" : 17]>
        block (x) => (y) {
            k = Constant <value = float {3}> ()
            a = Add (x, k)
            l = Constant <value_float = 4.0> ()
            y = Sub (a, l)
        }
    """)
    check_pass(MERGE, graph, {"x": np.ones(2, np.float32), "which": np.array(True)})
    assert sorted(node.op for node in ir.every_node(graph)) == ["Add", "Identity", "If", "Mul", "Mul", "block"]


@pytest.mark.parametrize("rows", [1, 5])
def test_symbolic_rows(rows: int) -> None:
    graph = arithmetic("p = Mul (x, b) y = Mul (p, a)", data="float[n,3] x")
    check_pass(MERGE, graph, {"x": np.ones((rows, 3), np.float32)})


def test_powers() -> None:
    constants = "one = Constant <value = float {1}> () half = Constant <value = float {0.5}> () "
    graph = arithmetic(constants + "p = Pow (x, one) r = Relu (p) q = Pow (r, half) y = Relu (q)", data="float[2,3] x")
    next(node for node in graph.nodes if node.op == "Relu").outputs[0].dtype = np.dtype(np.float32)
    check_pass(MERGE, graph)
    assert ops(graph) == ["Relu", "Sqrt", "Relu"]
    graph = arithmetic(constants + "q = Pow (x, half) y = Relu (q)")
    ctx = run_pass(MERGE, graph)[1]
    assert "'x' may be negative" in ctx.refusals[0].what
    graph = arithmetic(constants + "y = Pow (x, one)")
    check_refusal(MERGE, graph, "the power 1 stays")


def test_the_limit() -> None:
    graph = arithmetic("p = Mul (x, a) y = Mul (p, a)")
    changed, ctx = run_pass(MERGE, graph, limit=0)
    assert not changed and not ctx.rewrites


@settings(deadline=None, max_examples=60)
@example(["Mul", "Mul", "Mul", "Mul", "Add", "Sub", "Add"], 48)  # what cancels, with a term behind it
@given(
    st.lists(st.sampled_from(["Mul", "Add", "Sub", "Rsub", "Div", "Neg"]), min_size=2, max_size=7), st.integers(0, 99)
)
def test_random_chains(steps: list[str], seed: int) -> None:
    """At most two nodes are left of any chain whose numbers are tame."""
    rng = np.random.default_rng(seed)
    lines, tensor = [], "x"
    for number, step in enumerate(steps):
        constant = rng.choice(["a", "b", "vard", "e", "varw"])
        text = {
            "Neg": f"Neg ({tensor})",
            "Rsub": f"Sub ({constant}, {tensor})",
            "Div": f"Div ({tensor}, {rng.choice(['vard', 'varw'])})",
        }.get(step, f"{step} ({tensor}, {constant})")
        tensor = f"t{number}"
        lines.append(f"{tensor} = {text}")
    graph = arithmetic(" ".join(lines) + f" y = Relu ({tensor})")
    before = ir.to_proto(graph.copy())
    changed, ctx = run_pass(MERGE, graph)
    assert changed or len(steps) == 2 or not ctx.rewrites
    assert len(graph.nodes) <= 3 or ctx.refusals or set(steps) == {"Neg"}
    feeds = random_feeds(before)
    one, other = run(before, feeds)["y"], run(ir.to_proto(graph), feeds)["y"]
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * max(1.0, float(np.abs(one).max())))
    again, _ = run_pass(MERGE, graph)
    assert not again


def test_the_half_of_a_gelu_stays() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y) <float s, float one, float k> '
        "{ half = Constant <value = float {0.5}> () r = Div (x, s) e = Erf (r) p = Add (e, one) m = Mul (x, p) "
        "h = Mul (m, half) i = Mul (h, k) y = Mul (i, k) }"
    )
    graph = random_model(text)
    ctx = check_pass(MERGE, graph)
    assert ops(graph)[-2:] == ["Mul", "Mul"] and "ends a Gelu" in ctx.refusals[0].what
