"""`fold-shapes`: what a Reshape, an Expand or a Slice is told, in constants where these can say it."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from tests.passes.checks import check_refusal, ops, parse, run, run_pass
from tests.passes.shape_models import FOLD, HEADS, INTS, STRICT, check, feeds, model, ranked, target


def test_a_reshape_copies_the_dimensions_that_stay() -> None:
    graph = model(f"h = Neg (x) {HEADS} y = Relu (p)")
    check(graph)
    assert target(graph) == [0, 0, 2, 4] and ops(graph) == ["Neg", "Reshape", "Transpose", "Relu"]


def test_a_reshape_infers_one_dimension() -> None:
    body = """s = Shape (x) b = Gather (s, zero) l = Gather (s, one) c = Mul (b, l) c1 = Unsqueeze (c, axis)
        t = Concat <axis = 0> (c1, size, half) y = Reshape (x, t)"""
    graph = ranked(model(body, INTS + ", int64[1] half = {2}"))
    check(graph)
    assert target(graph) == [-1, 4, 2] and ops(graph) == ["Reshape"]


def test_two_dimensions_that_move_are_too_many() -> None:
    body = """s = Shape (x) b = Gather (s, zero) l = Gather (s, one) b1 = Unsqueeze (b, axis) l1 = Unsqueeze (l, axis)
        t = Concat <axis = 0> (l1, b1, minus) y = Reshape (x, t)"""
    graph = ranked(model(body))
    _, ctx = run_pass(FOLD, graph.copy())
    assert any("-1 can stand but once" in refusal.what for refusal in ctx.refusals)
    check(graph)
    assert target(graph) is None
    assert ops(graph) == ["Shape", "Shape", "Concat", "Reshape"]  # of two dimensions, of the model's opset


def test_slices_that_end_where_the_axis_ends() -> None:
    body = """s = Shape (x) l = Gather (s, one) e = Unsqueeze (l, axis) less = Sub (e, two) axes = Identity (ax)
        a = Slice (x, axis, e, ax) b = Slice (a, two, less, ax) y = Slice (b, axis, less, ax)"""
    graph = ranked(model(body.replace("two", "three"), INTS + ", int64[1] three = {3}, int64[1] ax = {1}"))
    # m - 3 may be negative, and then counts from the end: where m is 2, [0:-1] is not [0:-3].
    before = ir.to_proto(graph.copy())
    run_pass(FOLD, graph)
    slices = [node for node in graph.nodes if node.op == "Slice"]
    assert slices[0].inputs[2].read().tolist() == [2**31 - 1] and not isinstance(slices[1].inputs[2], ir.Constant)
    for sizes in ({"n": 1, "m": 1}, {"n": 2, "m": 3}, {"n": 1, "m": 7}):
        given = feeds(graph, **sizes)
        np.testing.assert_array_equal(run(before, given)["y"], run(ir.to_proto(graph), given)["y"])


def test_a_slice_that_ends_at_a_fixed_distance_counts_from_the_end() -> None:
    body = """c = Concat <axis = 1> (x, x) s = Shape (c) l = Gather (s, one) e = Unsqueeze (l, axis)
        less = Sub (e, ax) y = Slice (c, axis, less, ax)"""
    graph = ranked(model(body, INTS + ", int64[1] ax = {1}"))
    check(graph)
    assert target(graph, "Slice", 2) == [-1] and ops(graph) == ["Concat", "Slice"]


def test_expand_that_keeps_what_is_there() -> None:
    body = "s = Shape (x) e = Equal (s, minus) o = Where (e, ones, s) y = Expand (x, o)"
    graph = ranked(model(body, INTS + ", int64 ones = {1}"))
    check(graph)
    assert target(graph, "Expand") == [1, 1, 1] and ops(graph) == ["Expand"]


def test_expand_to_a_symbol_is_refused() -> None:
    graph = ranked(model("s = Shape (x) y = Expand (w, s)", "float[8] w = {1, 1, 1, 1, 1, 1, 1, 1}"))
    check_refusal(FOLD, graph, "neither a number nor the dimension that is there")


def test_minus_one_beside_a_symbol_is_for_inputs_that_are_not_empty() -> None:
    """[n, m, 8] to [2 n, m, 4]: with -1 for 2 n, an m of 0 would be an error."""
    body = """s = Shape (x) b = Gather (s, zero) b2 = Mul (b, two) b1 = Unsqueeze (b2, axis) l = Gather (s, one)
        l1 = Unsqueeze (l, axis) t = Concat <axis = 0> (b1, l1, size) y = Reshape (x, t)"""
    weights = INTS + ", int64 two = {2}"
    graph = ranked(model(body, weights))
    check(graph)
    assert target(graph) == [-1, 0, 4]
    strict = ranked(model(body, weights))
    check(strict, {"n": 2, "m": 3}, {"n": 2, "m": 0}, {"n": 0, "m": 3}, {"n": 0, "m": 0}, pass_=STRICT)
    assert target(strict) is None


def test_a_copied_dimension_may_be_none_at_all() -> None:
    """Nothing is assumed of [n, m, 8] to [n, m, 2, 4]: 0 copies a 0 too."""
    graph = model(f"h = Neg (x) {HEADS.replace('minus', 'two')} y = Relu (p)", INTS + ", int64[1] two = {2}")
    check(graph, {"n": 2, "m": 3}, {"n": 2, "m": 0}, {"n": 0, "m": 3}, {"n": 0, "m": 0}, pass_=STRICT)
    assert target(graph) == [0, 0, 2, 4]


def test_minus_one_beside_what_data_decide_is_refused() -> None:
    """[n, k, 2] to [2 n, k], where k is how much NonZero finds: it may find nothing, whatever the inputs are."""
    body = """f = NonZero (x) g = Cast <to = 1> (f) row = Slice (g, axis, ax1, axis) v = Unsqueeze (row, ax2)
        w = Mul (z, v) s = Shape (w) b = Gather (s, zero) k = Gather (s, one) b2 = Mul (b, two)
        b1 = Unsqueeze (b2, axis) k1 = Unsqueeze (k, axis) t = Concat <axis = 0> (b1, k1) y = Reshape (w, t)"""
    weights = INTS + ", int64 two = {2}, int64[1] ax1 = {1}, int64[1] ax2 = {2}"
    graph = ranked(model(body, weights, inputs="float[m,8] x, float[n,1,2] z"))
    before, nothing = (
        ir.to_proto(graph.copy()),
        {"x": np.zeros((3, 8), np.float32), "z": np.ones((2, 1, 2), np.float32)},
    )
    _, ctx = run_pass(FOLD, graph)
    assert any("where another dimension is 0" in refusal.what for refusal in ctx.refusals)
    assert run(before, nothing)["y"].shape == run(ir.to_proto(graph), nothing)["y"].shape == (4, 0)


def test_the_exporters_own_minus_one_stays() -> None:
    """[3, k] to [3, -1], where k is how much NonZero finds: it fails for none, and goes on doing so."""
    body = """f = NonZero (x) s = Shape (f) r = Gather (s, zero) r1 = Unsqueeze (r, axis)
        t = Concat <axis = 0> (r1, minus, size) g = Cast <to = 1> (f) h = Concat <axis = 1> (g, g, g, g)
        y = Reshape (h, t)"""
    graph = ranked(model(body))
    check(graph)
    assert target(graph) == [3, -1, 4]


def test_allowzero_goes_where_zeros_copy() -> None:
    graph = model(f"h = Neg (x) {HEADS} y = Relu (p)".replace("= Reshape", "= Reshape <allowzero = 1>"))
    check(graph)
    assert target(graph) == [0, 0, 2, 4]
    assert all("allowzero" not in node.attrs for node in graph.nodes)


def test_stale_declarations_do_not_count() -> None:
    graph = model(f"h = Reshape (x, odd) {HEADS} y = Relu (p)", inputs="float[n,m,8] x, int64[3] odd")
    graph.nodes[0].outputs[0].shape = [2, 3, 8]
    run_pass(FOLD, graph)
    told = [node for node in graph.nodes if node.op == "Reshape"][-1].inputs[1]
    assert told.read().tolist() == [0, 0, -1, 4]  # and not 2, 3, 2, 4


def test_opset_4_has_the_shape_in_an_attribute() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 4]>
        g (float[n,8] x) => (float[a,b,c] y) { y = Reshape <shape = [-1, 2, 4]> (x) }""")
    _, ctx = run_pass(FOLD, graph)
    assert not ctx.rewrites and not ctx.refusals
