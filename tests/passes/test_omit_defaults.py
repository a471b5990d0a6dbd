"""`omit-defaults`: initial states of zeros are left out."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.omit_defaults import OmitDefaults
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass

OMIT = OmitDefaults()
HEAD = '<ir_version: 8, opset_import: ["" : 17, "local" : 1]>'
X = {"x": np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)}
SIGNATURE = "g (float[3,b,4] x) => (float[3,1,b,2] y)"
GATES = {"LSTM": 8, "GRU": 6, "RNN": 2}


def numbers(*shape: int) -> str:
    values = np.random.default_rng(len(shape)).normal(size=shape).round(3).reshape(-1)
    return f"{{{', '.join(map(str, values))}}}"


def weights(op: str = "LSTM") -> str:
    rows = GATES[op]
    return f"float[1,{rows},4] w = {numbers(1, rows, 4)}, float[1,{rows},2] r = {numbers(1, rows, 2)}"


ZEROS = """s = Shape (x) n = Gather (s, one) n1 = Unsqueeze (n, zero) d = Concat <axis = 0> (one, n1, two)
           h = ConstantOfShape <value = float[1] {0}> (d)"""
INTS = "int64[1] one1 = {1}, int64 one = {1}, int64[1] zero = {0}, int64[1] two = {2}"


def recurrent(states: str, before: str = "", op: str = "LSTM", more: str = "") -> ir.Graph:
    return parse(f"""
        {HEAD} {SIGNATURE} <{weights(op)}{more}> {{
            {before} y = {op} <hidden_size = 2> (x, w, r, , , {states})
        }}
    """)


def zeros() -> str:
    return ZEROS.replace("(one, n1", "(one1, n1")


def states_of(graph: ir.Graph) -> list[str]:
    return [tensor.name for node in graph.nodes if node.op in GATES for tensor in node.inputs[3:]]


def test_golden() -> None:
    before = f"{zeros()} c0, c1 = Split <axis = 0> (c) hs = Slice (h, zero, one1)"
    graph = recurrent("hs, c1", before, more=f", {INTS}, float[2,2,2] c = {{0, 0, 0, 0, 0, 0, 0, 0}}")
    check_golden(OMIT, graph, "an initial state made of the batch, and a constant one")


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("op", list(GATES))
def test_states_of_each_operator(op: str, batch: int) -> None:
    graph = recurrent("h", zeros(), op, f", {INTS}")
    ctx = check_pass(OMIT, graph, {"x": np.random.default_rng(0).normal(size=(3, batch, 4)).astype(np.float32)})
    assert states_of(graph) == []
    assert ctx.rewrites[0].what == "leave out initial_h, which is zeros without it too"


def test_one_state_of_two() -> None:
    given = ", float[1,2,2] h = {0, 0, 0, 0}, float[1,2,2] c = {0, 0, 0, 1}"
    graph = recurrent("h, c", more=given)
    check_pass(OMIT, graph, X)
    assert states_of(graph) == ["", "", "", "c"]
    graph = recurrent("c, h", more=given)
    check_pass(OMIT, graph, X)
    assert states_of(graph) == ["", "", "c"]


def test_a_shared_state_and_one_that_is_an_output() -> None:
    graph = parse(f"""
        {HEAD} g (float[3,b,4] x) => (float[3,1,b,2] y, float[1,b,2] h) <{weights()}, {INTS}> {{
            {zeros()} c = Identity (h) y = LSTM <hidden_size = 2> (x, w, r, , , h, c)
        }}
    """)
    check_pass(OMIT, graph, X)
    assert states_of(graph) == [] and graph.outputs[1].producer.op == "ConstantOfShape"


@pytest.mark.parametrize(
    ("before", "more"),
    [
        ("", ", float[1,2,2] h = {0, 0, 0, -0.0}"),
        ("", ", float[1,2,2] h = {0, 0, 1e-38, 0}"),
        ("e = Sub (x, x) s = ReduceSum (e, a) h = Slice (s, z, t, n)",
         ", int64[1] a = {0}, int64[1] z = {0}, int64[1] t = {2}, int64[1] n = {2}"),
        ("a = Constant <value = float[1,2,2] {0, 0, 0, 0}> () b = Constant <value = float[1,0,2] {}> ()"
         " d = Exp (b) h = Concat <axis = 1> (a, d)", ""),
    ],
    ids=["minus zero", "not zero", "computed", "one that is computed among others"],
)  # fmt: skip
def test_other_states_stay(before: str, more: str) -> None:
    check_pass(OMIT, recurrent("h", before, more=more), X, expect_change=False)


def test_refuses_what_the_caller_may_override() -> None:
    graph = parse(f"""
        {HEAD} g (float[3,2,4] x, float[1,2,2] h = {{0, 0, 0, 0}}) => (float[3,1,2,2] y) <{weights()}> {{
            y = LSTM <hidden_size = 2> (x, w, r, , , h)
        }}
    """)
    check_refusal(OMIT, graph, "initial_h 'h' may be overridden by the caller")


def test_in_a_branch_a_function_and_an_old_opset() -> None:
    graph = parse(f"""
        <ir_version: 8, opset_import: ["" : 11, "local" : 1]>
        g (float[3,b,4] x, bool p) => (float[3,1,b,2] y) <{weights()}, float[1,2,2] h = {{0, 0, 0, 0}}> {{
            y = If (p) <
                then_branch = t () => (float[3,1,b,2] t1) {{ t1 = LSTM <hidden_size = 2> (x, w, r, , , h) }},
                else_branch = e () => (float[3,1,b,2] e1) {{ e1 = local.f (x, w, r) }}
            >
        }}
        <domain: "local", opset_import: ["" : 11]> f (x, w, r) => (y) {{
            d = Constant <value = int64[3] {{1, 2, 2}}> () h = ConstantOfShape (d)
            y = LSTM <hidden_size = 2> (x, w, r, , , h)
        }}
    """)
    ctx = check_pass(OMIT, graph, {**X, "p": np.array(False)})
    assert len(ctx.rewrites) == 2


def test_a_limit_is_kept() -> None:
    graph = recurrent("h, h", more=", float[1,2,2] h = {0, 0, 0, 0}")
    run_pass(OMIT, graph, limit=1)
    assert states_of(graph) == ["", "", "", "h"]
