"""`inline-if`: a branch that gives a value of a rank that its reader does not take is never taken."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import check_golden, check_pass, ops, parse, run_pass
from tests.passes.if_models import INLINE

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
