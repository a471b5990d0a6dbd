"""`fold-shapes`: what computes shapes becomes constants where it can, and fewer nodes where it cannot."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.passes.fold_shapes import FoldShapes
from onnxopt.pipeline.base import Context
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run, run_pass
from tests.random_graphs import random_feeds, random_model

FOLD, STRICT = FoldShapes(), FoldShapes(empty_inputs=True)
HEADS = """
    s = Shape (h) b = Gather (s, zero) l = Gather (s, one) b1 = Unsqueeze (b, axis) l1 = Unsqueeze (l, axis)
    t = Concat <axis = 0> (b1, l1, minus, size) r = Reshape (h, t) p = Transpose <perm = [0, 2, 1, 3]> (r)
"""
"""The heads of an attention, as torch exports `view(b, l, -1, 4).transpose(1, 2)`."""
INTS = "int64 zero = {0}, int64 one = {1}, int64[1] axis = {0}, int64[1] minus = {-1}, int64[1] size = {4}"


def model(
    body: str, weights: str = INTS, *, inputs: str = "float[n,m,8] x", opset: int = 17, more: str = ""
) -> ir.Graph:
    """A model with the output `y`, and `more` of them."""
    version = 8 if opset > 8 else 3
    return parse(f"""
        <ir_version: {version}, opset_import: ["" : {opset}]>
        g ({inputs}) => (float[a,b,c,d] y{more}) <{weights}> {{ {body} }}
    """)


def ranked(graph: ir.Graph) -> ir.Graph:
    """With as many dimensions declared of each output as it has."""
    for output in graph.outputs:
        output.shape = None
    for output, value in zip(graph.outputs, run(ir.to_proto(graph), feeds(graph, n=2, m=3)).values(), strict=True):
        output.shape = [f"{output.name}_{axis}" for axis in range(value.ndim)]
    return graph


def ops(graph: ir.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def target(graph: ir.Graph, op: str = "Reshape", index: int = 1) -> list[int] | None:
    """What the one node of an operator is told, where that is a constant."""
    (node,) = (node for scope in ir.every_graph(graph) for node in scope.nodes if node.op == op)
    told = node.inputs[index]
    if told.producer is not None and told.producer.op == "Constant":
        told = told.producer.attrs["value"]
    return told.read().tolist() if isinstance(told, ir.Constant) else None


def feeds(graph: ir.Graph, **sizes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {tensor.name: [sizes.get(dim, dim) for dim in tensor.shape] for tensor in graph.inputs}
    return {
        tensor.name: np.asarray(rng.normal(size=shapes[tensor.name]) * 2).astype(tensor.dtype)
        for tensor in graph.inputs
    }


def check(graph: ir.Graph, *bindings: dict[str, int], pass_: FoldShapes = FOLD) -> Context:
    """Equal outputs at each binding, and never more nodes."""
    before, nodes = ir.to_proto(graph.copy()), sum(1 for _ in ir.every_node(graph))
    ctx = check_pass(pass_, graph, feeds(graph, **(bindings or ({"n": 2, "m": 3},))[0]))
    assert sum(1 for _ in ir.every_node(graph)) <= nodes
    for sizes in bindings or ({"n": 1, "m": 1}, {"n": 3, "m": 5}):
        given = feeds(graph, **sizes)
        one, other = run(before, given), run(ir.to_proto(graph), given)
        for name, value in one.items():
            assert value.shape == other[name].shape and value.tobytes() == other[name].tobytes(), name
    return ctx


def test_golden() -> None:
    body = f"h = Neg (x) {HEADS} m1 = Mul (b, l) k = Unsqueeze (m1, axis) t2 = Concat <axis = 0> (k, minus) "
    check_golden(FOLD, ranked(model(body + "y = Reshape (p, t2)")), "heads")
    expand = "s = Shape (x) e = Equal (s, minus) o = Where (e, ones, s) y = Expand (x, o)"
    check_golden(FOLD, ranked(model(expand, "int64[1] minus = {-1}, int64 ones = {1}")), "expand as torch exports it")
    fewer = """s = Shape (x) b = Gather (s, zero) b1 = Unsqueeze (b, axis) l = Gather (s, one) l1 = Unsqueeze (l, axis)
        t = Concat <axis = 0> (size, b1, l1) y = ConstantOfShape (t)"""
    check_golden(FOLD, ranked(model(fewer)), "what stays symbolic")


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


def test_an_input_that_may_be_overridden_is_no_constant() -> None:
    body = "y = Expand (x, more)"
    graph = model(body, "", inputs="float[n] x, int64[1] more = {8}")
    graph.outputs[0].shape = ["a"]
    check_pass(FOLD, graph, {"x": np.ones(1, np.float32)}, expect_change=False)


def test_opset_4_has_the_shape_in_an_attribute() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 4]>
        g (float[n,8] x) => (float[a,b,c] y) { y = Reshape <shape = [-1, 2, 4]> (x) }""")
    _, ctx = run_pass(FOLD, graph)
    assert not ctx.rewrites and not ctx.refusals


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


def test_a_long_chain_takes_one_round() -> None:
    body = "".join(
        f"""s{i} = Shape (x{i}) b{i} = Gather (s{i}, zero) c{i} = Unsqueeze (b{i}, axis)
            t{i} = Concat <axis = 0> (c{i}, minus) x{i + 1} = Reshape (x{i}, t{i})"""
        for i in range(500)
    )
    graph = ranked(model(f"{body} y = Neg (x500)", inputs="float[n,m,8] x0"))
    ctx = check_pass(FOLD, graph, {"x0": np.ones((2, 3, 8), np.float32)})
    assert ops(graph) == ["Reshape"] * 500 + ["Neg"] and len(ctx.rewrites) == 500
