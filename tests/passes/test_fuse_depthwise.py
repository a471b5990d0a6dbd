"""`fuse-depthwise`: depthwise convolutions recognised, and what surrounds them folded in."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_depthwise import FuseDepthwise
from tests.passes.checks import check_golden, check_pass, check_refusal, parse
from tests.passes.random_weights import ops, random_layers

FUSE = FuseDepthwise(merge="never")


# --- a depthwise convolution written otherwise


def test_golden_split_convs_concat() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,3,3] x) => (float[1,2,2,2] y)
        <float[1,1,2,2] w0 = {1, 2, 3, 4}, float[1,1,2,2] w1 = {5, 6, 7, 8}, float[1] b1 = {9}>
        {
            a, b = Split <axis = 1> (x)
            [first] c = Conv (a, w0)
            [second] d = Conv (b, w1, b1)
            y = Concat <axis = 1> (c, d)
        }
    """)
    check_golden(FUSE, graph, "Split, Convs, Concat")


def split_convs(
    split: str, *, opset: int, convs: str = "<kernel_shape = [3, 3], strides = [2, 1], pads = [1, 0, 2, 1]>"
) -> ir.Graph:
    body = f"{split} p = Conv {convs} (a, w0) q = Conv {convs} (b, w1, bias) "
    body += f"r = Conv {convs} (c, w2) s = Conv {convs} (d, w3) "
    weights = ", ".join(f"float[1,1,3,3] w{i}" for i in range(4))
    return random_layers(body + "y = Concat <axis = 1> (p, q, r, s)", weights + ", float[1] bias", opset=opset)


@pytest.mark.parametrize(
    ("split", "opset"),
    [
        ("a, b, c, d = Split <axis = 1> (x)", 7),
        ("a, b, c, d = Split <axis = -3, split = [1, 1, 1, 1]> (x)", 11),
        ("sizes = Constant <value = int64[4] {1, 1, 1, 1}> () a, b, c, d = Split <axis = 1> (x, sizes)", 13),
        ("a, b, c, d = Split <axis = 1, num_outputs = 4> (x)", 18),
        ("a, b, c, d = Split <axis = 1, num_outputs = 4> (x)", 21),
    ],
)
def test_split_of_every_opset(split: str, opset: int) -> None:
    graph = split_convs(split, opset=opset)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"] or ops(graph) == ["Constant", "Conv"]
    assert graph.nodes[-1].attrs["group"] == 4


def test_slices_by_attributes_and_by_inputs() -> None:
    old = " ".join(
        f"{name} = Slice <axes = [1], starts = [{i}], ends = [{i + 1 if i < 3 else 2147483647}]> (x)"
        for i, name in enumerate("abcd")
    )
    graph = split_convs(old, opset=9)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]
    numbers = " ".join(f"i{i} = Constant <value = int64[1] {{{i}}}> ()" for i in (0, 1, 2, 3, 4, -1))
    numbers = numbers.replace("i-1", "minus")
    new = numbers + " ".join(f" {name} = Slice (x, i{i}, i{i + 1}, i1)" for i, name in enumerate("abc"))
    graph = split_convs(new + " d = Slice (x, minus, i4, i1)", opset=13)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_blocks_of_channels_and_grouped_convs() -> None:
    graph = random_layers(
        "a, b = Split <axis = 1, split = [2, 6]> (x) c = Conv <group = 1> (a, w0) d = Conv <group = 3> (b, w1) "
        "y = Concat <axis = -3> (c, d)",
        "float[3,2,3,3] w0, float[9,2,3,3] w1",
        opset=11,
        data="float[2,8,7,6] x",
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"] and graph.nodes[0].attrs["group"] == 4


def test_two_convs_upon_each_piece_are_a_multiplier() -> None:
    graph = random_layers(
        "a, b = Split <axis = 1> (x) c = Conv (a, w0) d = Conv (a, w1) e = Conv (b, w2) f = Conv (b, w3) "
        "y = Concat <axis = 1> (c, d, e, f)",
        ", ".join(f"float[1,1,3,3] w{i}" for i in range(4)),
        data="float[1,2,5,5] x",
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"] and graph.nodes[0].attrs["group"] == 2


def test_the_split_stays_for_its_other_readers() -> None:
    graph = random_layers(
        "a, b = Split <axis = 1> (x) c = Conv (a, w0) d = Conv (b, w1) e = Concat <axis = 1> (c, d) y = Add (e, a)",
        "float[1,1,1,1] w0, float[1,1,1,1] w1",
        data="float[1,2,5,5] x",
    )
    check_pass(FUSE, graph)
    assert sorted(ops(graph)) == ["Add", "Conv", "Split"]


PIECES = "a, b = Split <axis = 1> (x) "


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PIECES + "c = Conv (a, w0) d = Conv (b, w1) y = Concat <axis = 1> (d, c)", "not take all outputs of Split"),
        (PIECES + "c = Conv (a, w0) d = Conv (b, w1) y = Concat <axis = 2> (c, d)", "joins along axis 2"),
        (PIECES + "c = Conv (a, w0) d = Conv (b, w2) y = Concat <axis = 1> (c, d)", "the groups differ"),
        (
            PIECES + "c = Conv <pads = [2,2,2,2]> (a, w0) d = Conv <pads = [3,3,3,3], dilations = [2,2]> (b, w1) "
            "y = Concat <axis = 1> (c, d)",
            "another kernel, stride, padding or dilation",
        ),
        (
            PIECES + 'c = Conv <pads = [1,1,1,1]> (a, w0) d = Conv <auto_pad = "SAME_UPPER"> (b, w1) '
            "y = Concat <axis = 1> (c, d)",
            "another kernel, stride, padding",
        ),
        (
            PIECES + "c = Conv (a, w0) d = Conv (b, w1) e = Concat <axis = 1> (c, d) y = Concat <axis = 1> (e, d)",
            "'d' is read elsewhere",
        ),
        (
            "a = Slice (x, zero, two, axis) c = Conv (a, w2) d = Conv (a, w2) y = Concat <axis = 1> (c, d)",
            "cover 2 of 4",
        ),
        (
            "a = Slice (x, zero, two, axis) b = Slice (x, zero, two, axis) c = Conv (a, w2) d = Conv (b, w2) "
            "y = Concat <axis = 1> (c, d)",
            "takes channels from 0, expected from 2",
        ),
    ],
)
def test_refusals_to_regroup(body: str, reason: str) -> None:
    graph = random_layers(
        "zero = Constant <value = int64[1] {0}> () two = Constant <value = int64[1] {2}> () "
        "axis = Constant <value = int64[1] {1}> () " + body,
        "float[2,2,3,3] w0, float[2,2,3,3] w1, float[1,2,3,3] w2",
    )
    check_refusal(FUSE, graph, reason)


def test_slices_of_an_unknown_number_of_channels() -> None:
    graph = random_layers(
        "zero = Constant <value = int64[1] {0}> () one = Constant <value = int64[1] {1}> () "
        "two = Constant <value = int64[1] {2}> () a = Slice (x, zero, one, one) b = Slice (x, one, two, one) "
        "c = Conv (a, w0) d = Conv (b, w1) y = Concat <axis = 1> (c, d)",
        "float[1,1,3,3] w0, float[1,1,3,3] w1",
        data="float[n,c,5,5] x",
    )
    check_refusal(FUSE, graph, "channel count of 'x' is not certain")


# --- per-channel arithmetic


def test_golden_scale_and_shift_alone() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,3,3] x) => (float[1,2,3,3] y)
        <float[1,2,3,3] a, float[2,1,1] mean = {1, 2}, float[2,1,1] scale = {2, 4}, float[2,1,1] shift = {1, 1}>
        {
            a = Relu (x)
            [sub] b = Sub (a, mean)
            [mul] c = Mul (scale, b)
            [add] d = Add (c, shift)
            y = Relu (d)
        }
    """)
    check_golden(FUSE, graph.copy(), "per-channel arithmetic alone")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Relu", "Conv", "Relu"]


@pytest.mark.parametrize(
    ("body", "data", "reason"),
    [
        ("y = Mul (x, k)", "float[2,4,7,6] x", "one Mul costs less"),
        ("a = Mul (x, k) y = Add (a, k)", "float[n,c,h,w] x", "is not certain to have channels"),
        (
            "v = Conv <pads = [1,1,1,1]> (x, w) a = Mul (v, k) y = Add (a, k)",
            "float[2,4,7,6] x",
            "before it can take it",
        ),
        ("a = Mul (x, k) b = Add (a, k) y = Conv (b, w)", "float[2,4,7,6] x", "after it can take it"),
        ("a = Mul (x, d) y = Add (a, d)", "double[2,4,7,6] x", "runtimes have no Conv of float64"),
    ],
)
def test_arithmetic_that_stays(body: str, data: str, reason: str) -> None:
    outputs = "double[n,c,h,w] y" if "double" in data else "float[n,c,h,w] y"
    weights = "float[4,1,1] k, float[4,4,3,3] w, double[4,1,1] d"
    graph = random_layers(body, weights, data=data, outputs=outputs)
    x = np.random.default_rng(0).normal(size=(2, 4, 7, 6)).astype(data.split("[")[0].replace("float", "float32"))
    ctx = check_pass(FUSE, graph, {"x": x}, expect_change=False)
    assert [said.what for said in ctx.refusals if reason in said.what], ctx.refusals


def test_a_sequence_that_may_be_empty_is_left() -> None:
    body, weights = "a = Mul (x, k) y = Add (a, t)", "float[4,1,1] k, float[4,1,1] t"
    graph = random_layers(body, weights, data="float[n,4,m,3] x")
    check_refusal(FUSE, graph, "'x' may be empty, and a Conv takes no empty image")
    graph = random_layers(body, weights, data="float[n,4,5,3] x")
    check_pass(FUSE, graph, {"x": np.ones((0, 4, 5, 3), np.float32)})
    assert ops(graph) == ["Conv"]


def test_the_end_of_a_normalization_is_left_to_the_engine() -> None:
    graph = random_layers(
        "m = ReduceMean <axes = [1]> (x) d = Sub (x, m) q = Mul (d, d) v = ReduceMean <axes = [1]> (q) r = Sqrt (v) "
        "n = Div (d, r) a = Mul (n, k) y = Add (a, t)",
        "float[4,1,1] k, float[4,1,1] t",
        data="float[n,4,5,3] x",
    )
    check_refusal(FUSE, graph, "they end a normalization")


def test_numbers_for_all_channels_are_no_depthwise_convolution() -> None:
    graph = random_layers("a = Mul (x, k) y = Add (a, k)", "float k")
    assert not check_pass(FUSE, graph, expect_change=False).refusals


def test_what_is_not_per_channel_ends_the_chain() -> None:
    body = "a = Mul (x, m) b = Mul (a, k) c = Sub (k, b) d = BatchNormalization (c, k1, k1, k1, var) y = Add (d, m)"
    graph = random_layers(body, "float[7,6] m, float[4,1,1] k, float[4] k1, float[4] var")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Mul", "Conv", "Add"]


# --- figures


def test_costs_before_and_after() -> None:
    graph = split_convs("a, b, c, d = Split <axis = 1> (x)", opset=13)
    ctx = check_pass(FUSE, graph)
    FUSE.run(graph, ctx)  # as the next round of a pipeline: the figures are of the whole, not added up
    found = {name.split(": ")[1]: amount for name, amount in ctx.statistics.items()}
    # 2 samples, (7 + 3 - 3) // 2 + 1 by 6 + 1 - 3 + 1 positions, 3x3 taps
    assert found == {
        "MACs before": 2 * 4 * 5 * 9 * 4,
        "MACs after": 2 * 4 * 5 * 9 * 4,
        "parameters before": 4 * 9 + 1,
        "parameters after": 4 * 9 + 4,
        "depthwise convolutions": 1,
        "depthwise MACs": 2 * 4 * 5 * 9 * 4,
        "dense MACs": 2 * 4 * 5 * 9 * 4 * 4,
        "dense parameters": 4 * 9 * 4,
    }
