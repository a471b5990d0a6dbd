"""`fold-shapes`: what computes shapes becomes constants where it can, and fewer nodes where it cannot."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.pipeline.base import Context
from tests.passes.checks import check_golden, check_pass, ops, parse, run, run_pass
from tests.passes.shape_models import FOLD, HEADS, INTS, STRICT, check, feeds, model, ranked, target
from tests.random_graphs import random_feeds, random_model


def test_golden() -> None:
    body = f"h = Neg (x) {HEADS} m1 = Mul (b, l) k = Unsqueeze (m1, axis) t2 = Concat <axis = 0> (k, minus) "
    check_golden(FOLD, ranked(model(body + "y = Reshape (p, t2)")), "heads")
    expand = "s = Shape (x) e = Equal (s, minus) o = Where (e, ones, s) y = Expand (x, o)"
    check_golden(FOLD, ranked(model(expand, "int64[1] minus = {-1}, int64 ones = {1}")), "expand as torch exports it")
    fewer = """s = Shape (x) b = Gather (s, zero) b1 = Unsqueeze (b, axis) l = Gather (s, one) l1 = Unsqueeze (l, axis)
        t = Concat <axis = 0> (size, b1, l1) y = ConstantOfShape (t)"""
    check_golden(FOLD, ranked(model(fewer)), "what stays symbolic")


def test_what_stays_symbolic_is_computed_by_fewer_nodes() -> None:
    body = """s = Shape (x) b = Gather (s, zero) b1 = Unsqueeze (b, axis) t = Concat <axis = 0> (b1, size, axis2)
        z = ConstantOfShape (t) y = Identity (z)"""
    graph = ranked(model(body, INTS + ", int64[1] axis2 = {2}"))
    check(graph)
    assert ops(graph) == ["Shape", "Concat", "ConstantOfShape", "Identity"]
    assert graph.nodes[0].attrs == {"start": 0, "end": 1}


def test_before_opset_15_shape_gives_all() -> None:
    body = """s = Shape (x) b = Gather (s, zero) b1 = Unsqueeze (b, axis) t = Concat <axis = 0> (b1, size, axis2)
        z = ConstantOfShape (t) y = Identity (z)"""
    graph = ranked(model(body, INTS + ", int64[1] axis2 = {2}", opset=14))
    check_pass(FOLD, graph, expect_change=False)


def test_a_vector_put_together_again_is_the_shape() -> None:
    body = """s = Shape (x) b = Gather (s, zero) l = Gather (s, one) e = Gather (s, two) b1 = Unsqueeze (b, axis)
        l1 = Unsqueeze (l, axis) e1 = Unsqueeze (e, axis) t = Concat <axis = 0> (b1, l1, e1)
        z = ConstantOfShape (t) y = Identity (z)"""
    graph = ranked(model(body, INTS + ", int64 two = {2}", opset=13))
    check(graph)
    assert ops(graph) == ["Shape", "ConstantOfShape", "Identity"]


def test_numbers_become_constants_though_symbols_stand_beside_them() -> None:
    body = """s = Shape (x) e = Gather (s, two) half = Div (e, d) f = Cast <to = 1> (half) y = Mul (x, f)"""
    graph = ranked(model(body, INTS + ", int64 two = {2}, int64 d = {2}"))
    check(graph)
    assert ops(graph) == ["Cast", "Mul"]
    assert graph.nodes[0].inputs[0].read() == 4


def test_an_output_keeps_its_name_and_its_node() -> None:
    body = "s = Shape (x) e = Gather (s, two) k = Unsqueeze (e, axis) y = Neg (x)"
    graph = ranked(model(body, INTS + ", int64 two = {2}", more=", int64[1] k"))
    check(graph)
    assert [tensor.name for tensor in graph.outputs] == ["y", "k"] and ops(graph) == ["Constant", "Neg"]


def test_an_output_in_the_middle_of_a_chain_stays() -> None:
    graph = model(f"h = Neg (x) {HEADS} y = Relu (p)", more=", int64[4] t, int64 b")
    check(graph)
    assert target(graph) == [0, 0, 2, 4]
    assert {tensor.name for tensor in graph.outputs} == {"y", "t", "b"}


def test_equal_vectors_are_computed_once_whatever_they_are_computed_from() -> None:
    body = """s = Shape (x) b = Gather (s, zero) r = Range (zero, b, one) n1 = Neg (x) s2 = Shape (n1)
        b2 = Gather (s2, zero) r2 = Range (zero, b2, one) q = Add (r, r2) f = Cast <to = 1> (q) y = Identity (f)"""
    graph = ranked(model(body))
    check(graph)
    assert ops(graph).count("Gather") == 1 and ops(graph).count("Shape") == 1


def test_a_scalar_is_gathered_from_the_shape_that_is_there() -> None:
    body = """s = Shape (x) z = ConstantOfShape (s) n1 = Neg (x) c = Concat <axis = 2> (n1, z) s2 = Shape (c)
        l = Gather (s2, one) r = Range (zero, l, one) f = Cast <to = 1> (r) u = Unsqueeze (f, axes) y = Mul (x, u)"""
    graph = ranked(model(body.replace("y = Mul (x, u)", "y = Add (c, u)"), INTS + ", int64[1] axes = {1}"))
    check(graph)
    assert ops(graph).count("Shape") == 1


def test_an_input_that_may_be_overridden_is_no_constant() -> None:
    body = "y = Expand (x, more)"
    graph = model(body, "", inputs="float[n] x, int64[1] more = {8}")
    graph.outputs[0].shape = ["a"]
    check_pass(FOLD, graph, {"x": np.ones(1, np.float32)}, expect_change=False)


def test_each_rewrite_is_asked_for() -> None:
    graph = model(f"h = Neg (x) {HEADS} y = Relu (p)", more=", int64[4] t")
    whole, ctx = graph.copy(), Context(current="fold-shapes")
    FOLD.run(whole, ctx)
    for limit in range(len(ctx.rewrites)):
        part, limited = graph.copy(), Context(current="fold-shapes", limit=limit)
        assert FOLD.run(part, limited) == (limit > 0) and len(limited.rewrites) == limit
        onnx.checker.check_model(ir.to_proto(part), full_check=True)


@pytest.mark.parametrize("seed", range(80))
def test_random_graphs_give_the_same_bits(seed: int) -> None:
    """With --empty-inputs, also for inputs of no elements."""
    before = random_model(seed)
    for pass_, sizes in ((FOLD, ((2, 3), (1, 1))), (STRICT, ((0, 3), (3, 0), (0, 0)))):
        graph = ir.from_proto(before)
        nodes = sum(1 for _ in ir.every_node(graph))
        changed, _ = run_pass(pass_, graph)
        after = ir.to_proto(graph)
        assert sum(1 for _ in ir.every_node(ir.from_proto(after))) <= nodes
        for n, m in sizes if changed else ():
            given = random_feeds(before, seed, {"n": n, "m": m})
            try:
                expected = run(before, given)
            except Exception:  # noqa: BLE001  not every model runs on nothing
                continue
            for name, value in run(after, given).items():
                np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("b = Cast <to = 9> (s) c = Cast <to = 7> (b)", ", int64[3] c"),
        ("e = Slice (x, minus, all, axis) c = Shape (e)", ", int64[3] c"),
        ("e = Slice (x, axis, one1, axis) c = Shape (e)", ", int64[3] c"),
        ("l = Gather (s, zero) u = Unsqueeze (l, axis) e = Slice (w, axis, u, axis) c = Shape (e)", ", int64[1] c"),
        ("e = Greater (s, zero) c = Where (e, s, one)", ", int64[3] c"),
    ],
)
def test_values_of_an_empty_input_are_right_without_being_asked_for(body: str, more: str) -> None:
    weights = INTS + ", int64[1] all = {9223372036854775807}, int64[1] one1 = {1}, float[1] w = {1}"
    graph = model(f"s = Shape (x) {body} y = Relu (x)", weights, more=more)
    graph.outputs[0].shape = list("nmk")
    before = ir.to_proto(graph.copy())
    run_pass(FOLD, graph)
    for sizes in ({"n": 0, "m": 3}, {"n": 2, "m": 0}, {"n": 1, "m": 1}, {"n": 4, "m": 2}):
        given = feeds(graph, **sizes)
        np.testing.assert_array_equal(run(ir.to_proto(graph), given)["c"], run(before, given)["c"])


@pytest.mark.parametrize("opset", [8, 9])
def test_what_is_given_out_becomes_a_constant_where_there_is_one_of_integers(opset: int) -> None:
    graph = parse(f"""<ir_version: 3, opset_import: ["" : {opset}]>
        g (float[2,3] x, int64 i) => (int64 y) <int64 i = {{1}}> {{ s = Shape (x) y = Gather <axis = 0> (s, i) }}""")
    check_pass(FOLD, graph, {"x": np.ones((2, 3), np.float32)})
    assert ops(graph) == (["Gather"] if opset == 8 else ["Constant"])


def test_a_long_chain_takes_one_round() -> None:
    body = "".join(
        f"""s{i} = Shape (x{i}) b{i} = Gather (s{i}, zero) c{i} = Unsqueeze (b{i}, axis)
            t{i} = Concat <axis = 0> (c{i}, minus) x{i + 1} = Reshape (x{i}, t{i})"""
        for i in range(500)
    )
    graph = ranked(model(f"{body} y = Neg (x500)", inputs="float[n,m,8] x0"))
    ctx = check_pass(FOLD, graph, {"x0": np.ones((2, 3, 8), np.float32)})
    assert ops(graph) == ["Reshape"] * 500 + ["Neg"] and len(ctx.rewrites) == 500
