"""`fuse-depthwise`: a depthwise and a 1x1 convolution next to each other become one, where it is exact and pays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt import ir
from onnxopt.passes.fuse_depthwise import FuseDepthwise
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass
from tests.passes.random_weights import ops, random_layers

AUTO, ALWAYS, NEVER = FuseDepthwise(), FuseDepthwise(merge="always"), FuseDepthwise(merge="never")
WEIGHTS = (
    "float[4,1,3,3] d, float[4] db, float[5,4,1,1] p, float[5] pb, float[4,3,1,1] q, float[4] qb, float[8,1,3,3] d2, "
)
WEIGHTS += "float[6,4,1,1] g2, float[4,2,1,1] g, float[1,4,1,1] one, float[7,8,1,1] wide, float[3,8,1,1] narrow"


def test_golden_depthwise_then_pointwise() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,2] x) => (float[1,1,1,1] y)
        <float[2,1,2,2] d = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] db = {1, 2},
         float[1,2,1,1] p = {10, 1}, float[1] pb = {3}>
        {
            [depthwise] a = Conv <group = 2, kernel_shape = [2, 2]> (x, d, db)
            [pointwise] y = Conv <kernel_shape = [1, 1]> (a, p, pb)
        }
    """)
    check_golden(AUTO, graph, "a depthwise and a 1x1 of one output")


def test_golden_pointwise_then_depthwise() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,1,2,2] x) => (float[1,2,2,2] y)
        <float[2,1,1,1] p = {10, 1}, float[2,1,2,2] d = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] db = {1, 2}>
        {
            [pointwise] a = Conv (x, p)
            [depthwise] y = Conv <group = 2, pads = [0, 0, 1, 1]> (a, d, db)
        }
    """)
    check_golden(AUTO, graph, "a 1x1 of one input and a depthwise")


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv <group = 4, pads = [1, 0, 2, 1], strides = [2, 1], dilations = [1, 2]> (x, d, db) y = Conv (a, p)",
        "a = Conv <group = 4> (x, d) y = Conv (a, p)",
        "a = Conv <group = 4> (x, d) y = Conv (a, p, pb)",
        "a = Conv <group = 4, strides = [2, 1], pads = [1, 1, 0, 1]> (x, d, db) y = Conv <strides = [2, 3]> (a, p)",
        'a = Conv <group = 4, auto_pad = "SAME_LOWER", strides = [2, 2]> (x, d, db) y = Conv (a, p, pb)',
        "a = Conv <group = 4> (x, d2) y = Conv (a, wide)",
        "a = Conv <group = 4, pads = [1, 1, 1, 1]> (x, d) y = Conv <group = 2> (a, g, db)",
        "a = Conv <group = 2> (x, g, db) y = Conv <group = 4, dilations = [2, 1]> (a, d, db)",
        "a = Conv <group = 2> (x, g) y = Conv <group = 4, pads = [2, 2, 2, 2]> (a, d, db)",
        'a = Conv <group = 2> (x, g) y = Conv <group = 4, auto_pad = "SAME_UPPER", strides = [2, 2]> (a, d2)',
        "a = Conv <group = 2> (x, g, db) y = Conv <group = 4, strides = [3, 1]> (a, d2)",
    ],
)
def test_every_merge_is_exact(body: str) -> None:
    graph = random_layers(body, WEIGHTS)
    check_pass(ALWAYS, graph)
    assert ops(graph) == ["Conv"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Conv (x, p5, db) y = Conv <group = 4, pads = [1, 1, 1, 1]> (a, d)", "bias of the 1x1 would have moved"),
        ("a = Conv <strides = [2, 1]> (x, p5) y = Conv <group = 4> (a, d)", "has padding or a stride"),
        ("a = Conv <group = 4> (x, d) y = Conv <pads = [1, 1, 1, 1]> (a, p)", "pads what the depthwise gives"),
        (
            'a = Conv <group = 4, auto_pad = "SAME_UPPER"> (x, d) y = Conv <strides = [2, 2]> (a, p)',
            "pads by the stride, which would change",
        ),
        ("a = Conv <group = 4, pads=[1,1,1,1]> (x, d) c = Conv (a, p5) y = Add (a, c)", "'a' is read elsewhere too"),
    ],
)
def test_merges_that_are_not_exact(body: str, reason: str) -> None:
    check_refusal(ALWAYS, random_layers(body, WEIGHTS + ", float[4,4,1,1] p5"), reason)


def test_nothing_merges_across_an_activation() -> None:
    graph = random_layers("a = Conv <group = 4> (x, d) c = Relu (a) y = Conv (c, p)", WEIGHTS)
    assert not check_pass(ALWAYS, graph, expect_change=False).refusals


def test_auto_names_the_figures_that_speak_against_it() -> None:
    graph = random_layers("a = Conv <group = 4> (x, d) y = Conv (a, p)", WEIGHTS, data="float[1,4,7,6] x")
    # 5x4 positions: 4 x 9 + 5 x 4 taps in two layers, 5 x 4 x 9 in one; 4-byte numbers, 4x5x4 of them between
    reason = r"would cost 3,600 MACs, not 1,120, and 720 bytes, not 864"
    check_refusal(AUTO, graph, reason)


def test_auto_merges_what_gets_cheaper() -> None:
    for body in (
        "a = Conv <group = 4> (x, d) y = Conv (a, one)",
        "a = Conv <group = 4> (x, d2) y = Conv <strides = [2, 2]> (a, narrow)",
    ):
        graph = random_layers(body, WEIGHTS)
        ctx = check_pass(AUTO, graph)
        before, after = ctx.statistics["fuse-depthwise: MACs before"], ctx.statistics["fuse-depthwise: MACs after"]
        assert after <= before and ops(graph) == ["Conv"]


def test_auto_without_sizes_compares_for_each_position() -> None:
    body = "a = Conv <group = 4> (x, d) y = Conv (a, one)"
    graph = random_layers(body, WEIGHTS, data="float[n,4,h,w] x", outputs="float[n,1,u,v] y")
    changed, ctx = run_pass(AUTO, graph)
    assert changed
    assert ctx.statistics["fuse-depthwise: convolutions of unknown size, not in the MACs"] == 1
    graph = random_layers(body.replace("one", "p"), WEIGHTS, data="float[n,4,h,w] x", outputs="float[n,5,u,v] y")
    changed, ctx = run_pass(AUTO, graph)
    assert not changed and "180 MACs for each output position, not 56" in ctx.refusals[0].what


def test_never_merges_nor_complains() -> None:
    graph = random_layers("a = Conv <group = 4> (x, d) y = Conv (a, one)", WEIGHTS)
    assert not check_pass(NEVER, graph, expect_change=False).refusals


def test_a_merge_that_brings_the_next_pair_together() -> None:
    body = "a = Conv <group = 4> (x, d) c = BatchNormalization (a, db, db, db, var) e = Conv (c, p) "
    body += "f = Mul (e, k) y = Conv <group = 5> (f, d5)"
    graph = random_layers(body, WEIGHTS + ", float[4] var, float[5,1,1] k, float[5,1,1,1] d5")
    check_pass(ALWAYS, graph)
    assert ops(graph) == ["Conv"]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.sampled_from(["dw", "dw1", "dw2", "pw", "dense", "bn", "mul", "add", "pad", "relu", "split"]), max_size=7
    ),
    st.sampled_from(["auto", "always", "never"]),
    st.integers(0, 99),
)
def test_random_stacks(steps: list[str], merge: str, seed: int) -> None:
    """Whatever is stacked upon each other: equal outputs, a truthful claim, nothing left to do the second time."""
    lines, weights, tensor, channels = [], ["int64[8] pads"], "x", 4
    for number, step in enumerate(steps):
        result = f"t{number}"
        after = channels * 2 if step == "dw2" and channels < 9 else 3 if step == "pw" else channels
        group = channels if step in ("dw", "dw1", "dw2") else 1
        kernel = "1,1" if step in ("dw1", "pw") else "2,3"
        if step in ("dw", "dw1", "dw2", "pw", "dense"):
            weights += [f"float[{after},{channels // group},{kernel}] w{number}", f"float[{after}] b{number}"]
            pads = ", pads = [1, 0, 0, 1]" if (seed + number) % 3 == 0 and kernel != "1,1" else ""
            lines.append(f"{result} = Conv <group = {group}{pads}> ({tensor}, w{number}, b{number})")
        elif step == "split":
            weights += [f"float[1,1,1,2] w{number}_{i}" for i in range(channels)]
            names = [f"{result}_{i}" for i in range(channels)]
            lines.append(f"{', '.join(names)} = Split <axis = 1> ({tensor})")
            lines += [f"{name}c = Conv ({name}, w{number}_{i})" for i, name in enumerate(names)]
            lines.append(f"{result} = Concat <axis = 1> ({', '.join(name + 'c' for name in names)})")
        elif step == "pad":
            lines.append(f"{result} = Pad ({tensor}, pads)")
        elif step == "relu":
            lines.append(f"{result} = Relu ({tensor})")
        elif step == "bn":
            weights += [f"float[{channels}] {name}{number}" for name in ("s", "b", "m", "var")]
            lines.append(f"{result} = BatchNormalization ({tensor}, s{number}, b{number}, m{number}, var{number})")
        else:
            weights.append(f"float[{channels},1,1] k{number}")
            lines.append(f"{result} = {step.capitalize()} ({tensor}, k{number})")
        tensor, channels = result, after
    body = " ".join(lines) + f" y = Relu ({tensor})"
    graph = random_layers(body, ", ".join(weights), data="float[1,4,15,22] x", seed=seed)
    for constant in graph.constants:
        if constant.name == "pads":
            constant.values = np.array([0, 0, 1, 0, 0, 0, 2, 1])
    before = ir.to_text(graph)
    changed, _ = run_pass(FuseDepthwise(merge=merge), graph.copy())  # type: ignore[arg-type]
    assert ir.to_text(graph) == before
    check_pass(FuseDepthwise(merge=merge), graph, expect_change=changed)  # type: ignore[arg-type]
