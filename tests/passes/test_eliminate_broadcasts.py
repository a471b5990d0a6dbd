"""`eliminate-broadcasts`: what is only read by operators that broadcast need not be made larger first."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.eliminate_broadcasts import EliminateBroadcasts
from tests.passes.bindings import check_at
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run, run_pass

ELIMINATE = EliminateBroadcasts()
SIZES = ({"n": 2, "m": 5}, {"n": 1, "m": 3}, {"n": 4, "m": 1})


def model(body: str, weights: str = "int64 unused = {0}", *, opset: int = 18, out: str = "float[p,q]") -> ir.Graph:
    """`x` is [n, m], `r` a row [1, m]."""
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[n,m] x, float[1,m] r) => ({out} y) <{weights}> {{ s = Shape (x) {body} }}
    """)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("e = Expand (r, s) y = Add (e, x)", ""),
        ("e = Expand (r, s) y = Mul (x, e)", ""),
        ("e = Expand (r, s) y = Div (x, e)", ""),
        ("e = Expand (r, s) y = Sub (e, x)", ""),
        ("e = Expand (r, s) c = Greater (x, e) y = Where (c, x, e)", ""),
        ("e = Expand (r, s) c = Equal (e, x) d = Cast <to = 1> (c) f = Add (e, x) y = Max (d, f, e)", ""),
        ("k = Slice (s, i0, i1) o = Concat <axis = 0> (k, i1) e = Tile (r, o) y = Add (x, e)",
         "int64[1] i0 = {0}, int64[1] i1 = {1}"),
        ("e = ConstantOfShape <value = float[1] {2}> (s) y = Mul (x, e)", ""),
        ("e = ConstantOfShape (s) c = Less (x, e) y = Where (c, e, x)", ""),
        ("e = Expand (two, s) y = Div (x, e)", "float two = {3}"),
        ("e = Expand (r, s) c = Greater (e, two) d = Where (c, two, zero) f = Mul (d, half) y = Add (f, x)",
         "float two = {0.2}, float zero = {0}, float[1,1] half = {0.5}"),
        ("c = Expand (r, s) e = Mul (c, ones) y = Add (e, x)", "float[1,1] ones = {1}"),
        ("e = Expand (r, s) f = Expand (e, s) g = Neg (f) h = Exp (g) y = Add (h, x)", ""),
        ("e = Expand (r, s) f = Expand (two, s) y = Where (c, e, f)", "float two = {3}, bool c = {1}"),
    ],
)  # fmt: skip
def test_readers_that_broadcast(body: str, weights: str) -> None:
    graph = model(body, weights or "int64 unused = {0}")
    stays = "bool c" in weights  # nobody but the two has the rows
    check_at(ELIMINATE, graph, *SIZES)
    left = [op for op in ops(graph) if op in ("Expand", "Tile", "ConstantOfShape")]
    assert len(left) == stays


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Mean", "Sum"])
def test_numbers_come_out_the_same(op: str) -> None:
    """A scalar takes another way through a runtime's kernel than a tensor."""
    fmod = "<fmod = 1>" if op == "Mod" else ""
    graph = model(f"e = Expand (k, s) y = {op} {fmod} (x, e)", "float k = {0.3}")
    data = np.random.default_rng(0).normal(size=(64, 33)).astype(np.float32)
    feeds = {"x": data, "r": data[:1]}
    before = run(ir.to_proto(graph.copy()), feeds)["y"]
    assert run_pass(ELIMINATE, graph)[0]
    assert run(ir.to_proto(graph), feeds)["y"].tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("e = Expand (r, s) y = MatMul (e, x)", ""),  # in another order
        ("e = Expand (r, s) y = Pow (x, e)", ""),
        ("e = Expand (r, s) y = Softmax (e)", ""),
        ("e = Expand (r, s) f = Add (e, x) t = ReduceSum <keepdims = 0> (e) y = Add (f, t)", ""),
        ("e = Tile (x, two) y = Add (e, e)", "int64[2] two = {2, 2}"),
    ],
)
def test_other_readers_keep_it(body: str, weights: str) -> None:
    graph = model(body, weights or "int64 unused = {0}")
    sizes = [{"n": 3, "m": 3}] if "MatMul" in body else SIZES
    check_at(ELIMINATE, graph, *sizes, expect_change=False)


@pytest.mark.parametrize(
    ("body", "weights", "reason"),
    [
        ("e = Expand (r, s) y = Add (e, r)", "", "'y' might have another shape"),
        ("e = Expand (r, s) y = Add (e, e)", "", "'y' might have another shape"),
        ("e = Expand (x, t) y = Add (e, k)", "int64[2] t = {4, 5}, float[1,5] k = {1, 2, 3, 4, 5}", "another shape"),
        ("e = Expand (two, s) f = Neg (e) y = Add (f, r)", "float two = {2}", "another shape"),
        # what is computed from it shrinks with it
        ("e = Expand (r, s) f = Neg (e) y = Add (f, e)", "", "another shape"),
        ("e = ConstantOfShape (s) c = Greater (e, k) d = Where (c, e, k) y = Add (d, r)", "float k = {1}", "another"),
    ],
)
def test_a_shape_that_might_shrink(body: str, weights: str, reason: str) -> None:
    graph = model(body, weights or "int64 unused = {0}")
    changed, ctx = run_pass(ELIMINATE, graph)
    assert not changed and reason in ctx.refusals[0].what


def _random_model(rng: np.random.Generator) -> ir.Graph:
    """A small tensor, expanded to a shape of symbols and numbers, and read beside others of random shape."""
    large = [str(rng.choice(["n", "m", "3", "1"])) for _ in range(int(rng.integers(1, 4)))]

    def broadcastable() -> list[str]:
        dims = [dim if rng.random() < 0.5 else "1" for dim in large]
        return dims[int(rng.integers(len(dims))) :] if rng.random() < 0.5 else dims

    shapes = {"a": broadcastable(), "b": broadcastable(), "c": list(large) if rng.random() < 0.5 else broadcastable()}
    inputs = ", ".join(f"float[{','.join(dims)}] {name}" for name, dims in shapes.items())
    items = " ".join(f"t{axis} = Shape <start = {'nm'.index(dim)}, end = {'nm'.index(dim) + 1}> (z)"
                     for axis, dim in enumerate(large) if dim in "nm")  # fmt: skip
    names = [f"t{axis}" if dim in "nm" else "one" if dim == "1" else "three" for axis, dim in enumerate(large)]
    one, two = rng.choice(["Add", "Mul", "Sub", "Max"], 2)
    middle = str(rng.choice(["", "d = Exp (e)", "d = Expand (e, s)"]))
    read = "d" if middle else "e"
    ends = ", ".join(f"q{axis}" for axis in range(len(large)))
    return parse(f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g ({inputs}, float[n,m] z) => (float[{ends}] y) <int64[1] one = {{1}}, int64[1] three = {{3}}> {{
            {items} s = Concat <axis = 0> ({", ".join(names)}) e = Expand (a, s) {middle}
            f = {one} ({read}, b) g = {two} (c, {read}) h = Add (f, g) y = Expand (h, s)
        }}
    """)


@pytest.mark.parametrize("seed", range(40))
def test_random_shapes_stay_what_they_are(seed: int) -> None:
    graph = _random_model(np.random.default_rng(seed))
    changed, _ = run_pass(ELIMINATE, graph.copy())
    check_at(ELIMINATE, graph, {"n": 2, "m": 5}, {"n": 1, "m": 4}, {"n": 3, "m": 1}, expect_change=changed)


def test_more_dimensions_need_another_operand_of_them() -> None:
    graph = model("e = Expand (x, t) y = Add (e, r)", "int64[3] t = {1, 1, 1}", out="float[o,p,q]")
    check_refusal(ELIMINATE, graph, "another shape")
    graph = model(
        "e = Expand (x, t) y = Add (e, k)", "int64[3] t = {1, 1, 1}, float[1,1,1] k = {1}", out="float[o,p,q]"
    )
    check_at(ELIMINATE, graph, *SIZES)
    assert "Expand" not in ops(graph)


MASK = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[4,6] x, bool[1,6] mask) => (float[4,6] y)
    <bool[4,1] all = {{{}}}, float zero = {{0}}, float low = {{-9}}> {{
        m = And (all, mask) b = Where (m, zero, low) y = Add (x, b)
    }}
"""


def test_a_constant_that_only_broadcasts() -> None:
    """The mask of padding, widened by one of no causality."""
    graph = parse(MASK.format("1, 1, 1, 1"))
    check_pass(ELIMINATE, graph)
    assert ops(graph) == ["Where", "Add"]
    check_pass(ELIMINATE, parse(MASK.format("1, 0, 1, 1")), expect_change=False)


def test_outputs_stay() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[2,3] x, float[1,3] r) => (float[2,3] e, float[2,3] y) <int64[2] s = {2, 3}> {
            e = Expand (r, s) y = Add (e, x)
        }
    """)
    check_pass(ELIMINATE, graph, expect_change=False)


def test_opset_7_has_operators_that_do_not_broadcast() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 7]>
        g (float[2,3] x, float[1,3] r) => (float[2,3] y) <int64[2] t = {2, 1}> { e = Tile (r, t) y = Max (e, x) }
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def test_golden_scopes() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2,3] x, float[3] r, bool c) => (float[2,3] y) <int64[2] s = {2, 3}> {
            outer = Expand (r, s)
            p = If (c) <
                then_branch = t () => (float[2,3] t1) { t1 = Add (outer, x) },
                else_branch = e () => (float[2,3] e1) {
                    e0 = ConstantOfShape <value = float[1] {2}> (s) e1 = Mul (x, e0)
                }
            >
            y = local.f (p)
        }
        <opset_import: ["" : 18], domain: "local"> f (a) => (b) { s = Shape (a) m = ConstantOfShape (s) b = Add (m, a) }
    """)
    check_golden(ELIMINATE, graph, "in branches, and not in functions, whose shapes are not certain")


@pytest.mark.parametrize("limit", range(3))
def test_each_removal_is_one_rewrite(limit: int) -> None:
    graph = model("e = Expand (r, s) f = Expand (r, s) z = Add (e, x) y = Mul (f, z)")
    _, ctx = run_pass(ELIMINATE, graph, limit=limit)
    assert len(ctx.rewrites) == limit and ops(graph).count("Expand") == 2 - limit
