from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fold_constants import FoldConstants
from onnxopt.runtime.session import NotRunnable, Session
from tests.folding.models import body, floats, model, op, ops
from tests.passes.checks import check_pass, check_refusal, run_pass

FOLD = FoldConstants()


@pytest.mark.parametrize(
    "node",
    [
        "ConstantOfShape(many)",
        "Expand(one, many)",
        "Tile(row, many)",
        "Range(from, to, step)",
        "OneHot(half, to, pair)",
    ],
)
def test_what_would_be_huge_is_not_even_tried(node: str) -> None:
    constants = """int64[1] half = {500000000000}, float one = {1}, float[1] row = {1}, int64 from = {0},
        int64 to = {1000000000000}, int64 step = {1}, int64[2] pair = {0, 1}"""
    nodes = f"many = Add(half, half) big = {node} c = Cast <to = 1> (big) m = ReduceMax(c) y = Add(x, m)"
    graph = body(nodes, constants)
    _, ctx = run_pass(FOLD, graph)
    assert ops(graph)[-4:] == [node.split("(")[0], "Cast", "ReduceMax", "Add"]
    assert [refusal.what.split("; ")[1] for refusal in ctx.refusals] == ["max-bytes is 16777216"]


def test_a_large_input_is_not_read() -> None:
    graph = model([op("ReduceMax", "w", "m", keepdims=0), op("Add", "x m", "y")], {"w": np.zeros(100, np.float32)})
    check_refusal(FoldConstants(max_bytes=399), graph.copy(), "'w' takes 400 bytes; max-bytes is 399")
    check_pass(FoldConstants(max_bytes=400), graph)


def test_a_result_whose_size_depends_on_data_is_bounded_first() -> None:
    graph = model(
        [op("NonZero", "w", "n"), op("Cast", "n", "f", to=1), op("Mul", "x f", "y")], {"w": floats(0, 1, 0, 1)}, rank=2
    )
    check_refusal(FoldConstants(max_bytes=31), graph.copy(), "up to 32 bytes")
    check_pass(FOLD, graph)
    assert ops(graph) == ["Mul"]


def test_strings_are_read_and_not_made() -> None:
    nodes = (
        's = Constant <value_strings = ["1", "2"]> () n = Cast <to = 1> (s) y = Add(x, n) t = Concat <axis = 0> (s, s)'
    )
    graph = body(nodes, more=", string[4] t")
    ctx = check_pass(FOLD, graph)
    assert ops(graph) == ["Add", "Concat"] and "strings" in ctx.refusals[0].what


@pytest.mark.parametrize("kind", ["Div", "Mod"])
@pytest.mark.parametrize(("divisor", "reason"), [([1, 0], "divides integers by zero"), ([1, -1], "integer by -1")])
def test_a_division_that_would_stop_the_process(kind: str, divisor: list[int], reason: str) -> None:
    nodes = [op("Neg", "d", "e"), op("Neg", "e", "f"), op(kind, "n f", "q"), op("Cast", "q", "c", to=1)]
    graph = model([*nodes, op("Add", "x c", "y")], {"n": np.array([4, -(2**63)]), "d": np.array(divisor)})
    _, ctx = run_pass(FOLD, graph)
    assert ops(graph) == [kind, "Cast", "Add"] and reason in ctx.refusals[0].what


def test_other_divisions_by_minus_one_are_folded() -> None:
    nodes = [op("Div", "n d", "q"), op("Cast", "q", "c", to=1), op("Add", "x c", "y")]
    graph = model(nodes, {"n": np.array([4, -9]), "d": np.array([2, -1])})
    check_pass(FOLD, graph)
    assert ops(graph) == ["Add"]


def test_a_node_that_cannot_run_is_reported() -> None:
    graph = model([op("MatMul", "a a", "m"), op("Add", "x m", "y")], {"a": np.ones((2, 3), np.float32)})
    changed, ctx = run_pass(FOLD, graph)
    assert not changed and "MatMul -> m" in ctx.warnings[0]
    with pytest.raises(NotRunnable):
        Session(ir.to_proto(graph))
