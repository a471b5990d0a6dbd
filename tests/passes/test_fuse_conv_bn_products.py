"""`fuse-conv-bn`: scales of both factors of a MatMul go into one layer, or into one Mul."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_conv_bn import FuseConvBn
from onnxopt.pipeline import base
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

FUSE = FuseConvBn()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'


def numbers(*shape: int, seed: int = 0) -> str:
    values = np.random.default_rng(seed).normal(size=shape).round(3).reshape(-1)
    return f"{{{', '.join(map(str, values))}}}"


WEIGHTS = f"""float[4,4] wq = {numbers(4, 4)}, float[4,4] wk = {numbers(4, 4, seed=1)}, float[4] bq = {numbers(4)},
    float[4] bk = {numbers(4, seed=2)}, int64[4] heads = {{0, 0, 2, 2}}, float s = {{0.5}}, float t = {{0.25}}"""
Q = "q0 = MatMul (x, wq) q1 = Add (bq, q0) q2 = Reshape (q1, heads) q = Transpose <perm = [0, 2, 1, 3]> (q2)"
K = "k0 = MatMul (x, wk) k1 = Add (k0, bk) k2 = Reshape (k1, heads) k = Transpose <perm = [0, 2, 3, 1]> (k2)"


def attention(body: str, more: str = "", signature: str = "(float[b,n,4] x) => (float[b,2,n,n] y)") -> ir.Graph:
    return parse(f"{HEAD} g {signature} <{WEIGHTS}{more}> {{ {body} }}")


def feeds(batch: int = 2, length: int = 3, last: int = 4) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(batch, length, last)).astype(np.float32)}


@pytest.fixture(autouse=True)
def _a_target_without_scaled_products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of these, where no target is named, for one whose engine leaves the scales as they are."""
    if "onnxruntime" not in request.node.name:
        monkeypatch.setattr(base, "_ANY", "qnn")


def test_for_onnxruntime_one_mul_is_left_which_it_fuses() -> None:
    graph = attention(f"{Q} {K} qs = Mul (q, s) ks = Mul (t, k) y = MatMul (qs, ks)")
    check_pass(FUSE, graph, feeds())
    assert ops(graph).count("Mul") == 1


@pytest.mark.parametrize("batch", [1, 3])
def test_golden(batch: int) -> None:
    body = f"{Q} {K} qs = Mul (q, s) ks = Mul (t, k) y = MatMul (qs, ks)"
    check_golden(FUSE, attention(body), "the scales of scaled dot-product attention")
    graph = attention(body)
    ctx = check_pass(FUSE, graph, feeds(batch))
    assert ops(graph).count("Mul") == 0
    assert [rewrite.what for rewrite in ctx.rewrites] == ["fold the scales of both factors into MatMul 'q0'"]


@pytest.mark.parametrize("op", ["Mul", "Div"])
def test_a_factor_that_no_layer_makes_leaves_the_other_layer(op: str) -> None:
    graph = attention(f"q = Reshape (x, heads) r = Transpose <perm = [0, 2, 1, 3]> (q) {K.replace('k0', 'z0')}"
                      f" qs = {op} (r, s) ks = {op} (k, t) y = MatMul (qs, ks)")  # fmt: skip
    check_pass(FUSE, graph, feeds())
    assert op not in ops(graph)


@pytest.mark.parametrize("op", ["Mul", "Div"])
def test_without_a_layer_one_mul_is_left(op: str) -> None:
    graph = parse(f"""
        {HEAD} g (float[2,3] a, float[3,2] b) => (float[2,2] y) <float s = {{0.5}}, float[1] t = {{0.25}}> {{
            c = {op} (a, s) d = {op} (b, t) y = MatMul (c, d)
        }}
    """)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Mul", "MatMul"]


SPLIT = """q0 = MatMul (x, w) q1 = Add (q0, b) q2 = Reshape (q1, parts) q3 = Transpose <perm = [2, 0, 3, 1, 4]> (q2)
    a, c, v = Split <axis = 0> (q3) q = Squeeze (a, zero) k = Squeeze (c, zero) kt = Transpose <perm = [0, 1, 3, 2]> (k)
    qs = Mul (q, s) ks = Mul (kt, t) vs = Squeeze (v, zero) p = MatMul (qs, ks) y = MatMul (p, vs)"""
TOGETHER = f""", float[4,12] w = {numbers(4, 12)}, float[12] b = {numbers(12)}, int64[5] parts = {{0, 0, 3, 2, 2}},
    int64[1] zero = {{0}}"""
OUT = "(float[b,n,4] x) => (float[b,2,n,2] y)"


def test_a_scale_behind_a_split_of_the_channels() -> None:
    graph = attention(SPLIT, TOGETHER, OUT)
    before = next(tensor for tensor in graph.constants if tensor.name == "w").read().copy()
    check_pass(FUSE, graph, feeds())
    assert "Mul" not in ops(graph)
    after = graph.nodes[0].inputs[1].read()
    np.testing.assert_array_equal(after[:, :4], before[:, :4] * np.float32(0.125))
    np.testing.assert_array_equal(after[:, 4:], before[:, 4:])


def test_a_scale_behind_a_gather_and_behind_a_split_before_the_reshape() -> None:
    body = SPLIT.replace("a, c, v = Split <axis = 0> (q3) q = Squeeze (a, zero) k = Squeeze (c, zero)",
                         "q = Gather <axis = 0> (q3, i) k = Gather <axis = 0> (q3, j)")  # fmt: skip
    body = body.replace("vs = Squeeze (v, zero)", "vs = Gather <axis = 0> (q3, j)")
    graph = attention(body.replace("Mul (q, s)", "Mul (s, q)"), f"{TOGETHER}, int64 i = {{-1}}, int64 j = {{0}}", OUT)
    # the Gathers share their input, so that it is not the scale's alone
    check_pass(FUSE, graph, feeds())
    assert ops(graph).count("Mul") == 1
    body = """q0 = MatMul (x, w) q1 = Add (q0, b) a, c, v = Split <axis = -1> (q1) q = Reshape (a, heads)
        qt = Transpose <perm = [0, 2, 1, 3]> (q) k = Reshape (c, heads) kt = Transpose <perm = [0, 2, 3, 1]> (k)
        qs = Mul (qt, s) ks = Mul (kt, t) y0 = MatMul (qs, ks) vr = Reshape (v, heads)
        vt = Transpose <perm = [0, 2, 1, 3]> (vr) y = MatMul (y0, vt)"""
    graph = attention(body, TOGETHER, OUT)
    check_pass(FUSE, graph, feeds())
    assert "Mul" not in ops(graph)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (SPLIT.replace("{0, 0, 3, 2, 2}", "").replace("(q1, parts)", "(q1, mixed)"), "mixes channels with positions"),
        (SPLIT.replace("y = MatMul (p, vs)", "o = MatMul (p, vs) z = Exp (q1) y0 = ReduceSum (z) y = Add (o, y0)"), ""),
        (SPLIT.replace("q0 = MatMul (x, w)", "w2 = Identity (w) q0 = MatMul (x, w)").replace(
            "y = MatMul (p, vs)", "e = ReduceSum (w) o = MatMul (p, vs) y = Add (o, e)"), "shares its weights"),
    ],
    ids=["a reshape that mixes", "the bias' output is read by others", "shared weights"],
)  # fmt: skip
def test_where_the_layer_cannot_take_it_one_mul_is_left(body: str, reason: str) -> None:
    graph = attention(body, f"{TOGETHER}, int64[5] mixed = {{0, 3, -1, 2, 2}}", OUT)
    ctx = check_pass(FUSE, graph, feeds(length=3))
    assert ops(graph).count("Mul") == 1
    assert not reason or any(reason in refusal.what for refusal in ctx.refusals)


@pytest.mark.parametrize(
    "body",
    [
        f"{Q} {K} qs = Mul (q, s) y = MatMul (qs, k)",
        f"{Q} {K} qs = Mul (q, s) ks = Mul (k, t) p = MatMul (qs, ks) e = ReduceSum (ks) y = Add (p, e)",
        f"{Q} {K} n = ReduceSum (x) qs = Mul (q, s) ks = Mul (k, n) y = MatMul (qs, ks)",
        f"{Q} {K} qs = Mul (q, s) ks = Div (t, k) y = MatMul (qs, ks)",
    ],
    ids=["one scale, which engines look for", "a scaled value that others read", "a computed scale", "divided by k"],
)
def test_other_products_stay(body: str) -> None:
    check_pass(FUSE, attention(body), feeds(), expect_change=False)


@pytest.mark.parametrize("scale", ["s = {1678}, float16 t = {1678}", "s = {0}, float16 t = {16384}"])
def test_refuses_numbers_that_do_not_merge(scale: str) -> None:
    """Written as bits: 1e-4 twice; 0 and 2."""
    graph = parse(f"""
        {HEAD} g (float16[2,3] a, float16[3,2] b) => (float16[2,2] y) <float16 {scale}> {{
            c = Mul (a, s) d = Mul (b, t) y = MatMul (c, d)
        }}
    """)
    check_refusal(FUSE, graph, "on one side alone they might overflow, or vanish")


def test_refuses_floats_far_apart() -> None:
    graph = parse(f"""
        {HEAD} g (float[2,3] a, float[3,2] b) => (float[2,2] y) <float s = {{1e-30}}, float t = {{1e30}}> {{
            c = Mul (a, s) d = Mul (b, t) y = MatMul (c, d)
        }}
    """)
    check_refusal(FUSE, graph, "on one side alone they might overflow, or vanish")


def test_bfloat16_which_onnxruntime_does_not_multiply() -> None:
    """Written as bits: 0.5 and 0.25 make 0.125."""
    graph = parse(f"""
        {HEAD} g (bfloat16[2,3] a, bfloat16[3,2] b) => (bfloat16[2,2] y)
        <bfloat16 s = {{16128}}, bfloat16 t = {{16000}}> {{ c = Mul (a, s) d = Mul (b, t) y = MatMul (c, d) }}
    """)
    assert run_pass(FUSE, graph)[0] and ops(graph) == ["Mul", "MatMul"]
    assert float(graph.nodes[0].inputs[1].read()) == 0.125


def test_in_a_branch_with_a_factor_from_outside() -> None:
    graph = parse(f"""
        {HEAD} g (float[b,n,4] x, bool c) => (float[b,n,n] y) <{WEIGHTS}> {{
            q0 = MatMul (x, wq)
            y = If (c) <
                then_branch = then () => (float[b,n,n] y1) {{
                    q = Mul (q0, s) xt = Transpose <perm = [0, 2, 1]> (x) k = Mul (xt, t) y1 = MatMul (q, k)
                }},
                else_branch = else () => (float[b,n,n] y2) {{
                    a = MatMul (x, wk) at = Transpose <perm = [0, 2, 1]> (a) y2 = MatMul (x, at)
                }}
            >
        }}
    """)
    ctx = check_pass(FUSE, graph, {**feeds(), "c": np.array(True)})
    assert any("'q0' is computed outside the subgraph" in refusal.what for refusal in ctx.refusals)
    assert [node.op for node in graph.nodes[1].attrs["then_branch"].nodes] == ["Mul", "Transpose", "MatMul"]
