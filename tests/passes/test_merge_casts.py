"""`merge-casts`: two Casts in a row are one, or none, where the type between them loses nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxopt import ir
from onnxopt.passes.merge_casts import MergeCasts
from onnxopt.rules.movement.casts import KNOWN, direct
from tests.passes.checks import assert_equal_outputs, check_golden, check_pass, check_refusal, ops, parse, run, run_pass

MERGE = MergeCasts()
KINDS = sorted(KNOWN)


def cast(feed: np.ndarray, *kinds: int) -> np.ndarray:
    """A tensor of the first type, cast to the others in turn. numpy has no bfloat16: it goes in and out as float."""
    if kinds[0] == TensorProto.BFLOAT16:
        kinds, feed = (TensorProto.FLOAT, *kinds), feed.astype(np.float32)
    if kinds[-1] == TensorProto.BFLOAT16:
        kinds = (*kinds, TensorProto.FLOAT)
    nodes = [helper.make_node("Cast", [f"v{i}"], [f"v{i + 1}"], to=kind) for i, kind in enumerate(kinds[1:])]
    ends = [helper.make_tensor_value_info(f"v{i}", kinds[i], [None]) for i in (0, len(kinds) - 1)]
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return run(model, {"v0": feed})[f"v{len(nodes)}"]


def values(kind: int) -> np.ndarray:
    """Small and large numbers, the largest and the smallest ones, halves."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if kind == TensorProto.BOOL:
        return np.array([False, True])
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        around = [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, 1, 127, 128 % (limits.max + 1)]
        return np.array([*around, *(1 << bit for bit in range(31) if 1 << bit <= limits.max)], dtype)
    return np.array([0, -0.0, 0.5, 1.5, 2.5, -1.25, 1 / 3, 3e-8, 1e-3, 100, np.nan, np.inf, -np.inf, 6e4]).astype(dtype)


@pytest.mark.parametrize("source", KINDS)
def test_every_merge_of_two_casts_is_exact(source: int) -> None:
    """All pairs of types that the rules let through, on numbers at the edges of their ranges."""
    for middle, target in itertools.product(KINDS, KINDS):
        if direct(source, middle, target) is not True:
            continue
        feed = values(source)
        short = cast(feed, source, target)
        assert_equal_outputs({"y": cast(feed, source, middle, target)}, {"y": short}, MERGE.preserves)


def around(body: str, kind: str = "int32", end: str = "float", *, opset: int = 17) -> ir.Graph:
    return parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g ({kind}[n] x) => ({end}[n] y) {{ {body} y = Abs (b) }}
    """)


@pytest.mark.parametrize(
    ("body", "kind", "end", "casts"),
    [
        ("a = Cast <to = 7> (x) b = Cast <to = 6> (a)", "int32", "int32", 0),
        ("a = Cast <to = 1> (x) b = Cast <to = 10> (a)", "float16", "float16", 0),
        ("a = Cast <to = 11> (x) b = Cast <to = 1> (a)", "float", "float", 0),
        ("a = Cast <to = 7> (x) b = Cast <to = 1> (a)", "int32", "float", 1),
        ("a = Cast <to = 6> (x) b = Cast <to = 3> (a)", "int64", "int8", 1),
        (
            "a = Cast <to = 7> (x) c = Cast <to = 11> (a) d = Cast <to = 6> (c) b = Cast <to = 7> (d)",
            "int32",
            "int64",
            1,
        ),
        (
            "a = Cast <to = 9> (x) c = Cast <to = 6> (a) d = Cast <to = 9> (c) b = Cast <to = 1> (d)",
            "float",
            "float",
            2,
        ),
    ],
)
def test_a_middle_type_that_holds_every_number(body: str, kind: str, end: str, casts: int) -> None:
    graph = around(body, kind, end)
    check_pass(MERGE, graph)
    assert ops(graph).count("Cast") == casts


@pytest.mark.parametrize(
    ("body", "kind", "end", "reason"),
    [
        ("a = Cast <to = 10> (x) b = Cast <to = 1> (a)", "float", "float", "float16 does not hold each float"),
        ("a = Cast <to = 1> (x) b = Cast <to = 6> (a)", "int32", "int32", "float does not hold each int32"),
        ("a = Cast <to = 6> (x) b = Cast <to = 7> (a)", "int64", "int64", "int32 does not hold each int64"),
        ("a = Cast <to = 9> (x) b = Cast <to = 1> (a)", "float", "float", "bool does not hold each float"),
        ("a = Cast <to = 11> (x) b = Cast <to = 6> (a)", "float", "int32", "out of the range of int32 may differ"),
        ("a = Cast <to = 7> (x) b = Cast <to = 1> (a) c = Neg (a)", "int32", "float", "'a' has other readers"),
    ],
)
def test_near_matches_are_refused(body: str, kind: str, end: str, reason: str) -> None:
    check_refusal(MERGE, around(body, kind, end), reason)


def test_strings_and_float8_stay() -> None:
    graph = parse("""
        <ir_version: 9, opset_import: ["" : 19]>
        g (int32[n] x, float[n] f) => (int32[n] y, float[n] z) {
            a = Cast <to = 8> (x) y = Cast <to = 6> (a) b = Cast <to = 17, saturate = 0> (f) z = Cast <to = 1> (b)
        }
    """)
    changed, ctx = run_pass(MERGE, graph)
    assert not changed and not ctx.refusals


def test_all_readers_of_the_first_may_be_casts() -> None:
    graph = around("a = Cast <to = 7> (x) c = Cast <to = 11> (a) d = Cast <to = 1> (c) e = Cast <to = 1> (a) "
                   "f = Cast <to = 6> (a) h = Cast <to = 1> (f) i = Add (e, h) b = Add (d, i)")  # fmt: skip
    check_pass(MERGE, graph)
    assert ops(graph).count("Cast") == 3


def test_golden_scopes_and_outputs() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (int32[2] x, bool c) => (int32[2] y, int64[2] wide, int32[2] narrow) {
            outer = Cast <to = 7> (x)
            y = If (c) <
                then_branch = t () => (int32[2] t1) { t0 = Cast <to = 6> (outer) t1 = Abs (t0) },
                else_branch = e () => (int32[2] e1) { e1 = local.f (x) }
            >
            wide = Cast <to = 7> (x)
            narrow = Cast <to = 6> (wide)
        }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {
            m = Cast <to = 6> (a) n = Cast <to = 7> (m) o = Cast <to = 6> (n) b = Abs (o)
        }
    """)
    check_golden(MERGE, graph, "branches, functions and outputs")


def test_in_a_function_only_casts_tell_the_type() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (int32[2] x) => (int32[2] y) { y = local.f (x) }
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) { m = Cast <to = 7> (a) b = Cast <to = 6> (m) }
    """)
    check_refusal(MERGE, graph, "the element type of 'a' is not known")


def test_old_opsets_name_the_type() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 5]>
        g (int32[n] x) => (int32[n] y) { a = Cast <to = "INT64"> (x) y = Cast <to = "INT32"> (a) }
    """)
    assert not run_pass(MERGE, graph)[0]


@pytest.mark.parametrize("limit", range(3))
def test_each_merge_is_one_rewrite(limit: int) -> None:
    graph = around("a = Cast <to = 7> (x) c = Cast <to = 6> (a) d = Cast <to = 7> (c) b = Cast <to = 1> (d)")
    _, ctx = run_pass(MERGE, graph, limit=limit)
    assert len(ctx.rewrites) == limit
