"""`fuse-depthwise`: a Pad before a depthwise convolution, affine operations round it."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_depthwise import FuseDepthwise
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass
from tests.passes.random_weights import ops, random_layers

FUSE = FuseDepthwise(merge="never")
PARAMETERS = "float[4] s, float[4] b, float[4] m, float[4] var, float[4,1,1] k"


def depthwise(body: str, weights: str = "", *, opset: int = 17, **options: str) -> ir.Graph:
    """A model with depthwise weights `w` and per-channel parameters `s b m var k`."""
    return random_layers(body, f"float[4,1,3,3] w, {PARAMETERS}{weights}", opset=opset, **options)  # type: ignore[arg-type]


# --- Pad


def test_golden_pad_conv_batch_norm() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,2] x) => (float[1,2,3,3] y)
        <float[2,1,2,2] w = {1, 1, 1, 1, 2, 2, 2, 2}, int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float zero = {0},
         float[2] s = {2, 2}, float[2] b = {0, 1}, float[2] m = {1, 1}, float[2] v = {1, 4}>
        {
            [pad] a = Pad (x, pads, zero)
            [conv] c = Conv <group = 2> (a, w)
            [bn] y = BatchNormalization <epsilon = 0.0> (c, s, b, m, v)
        }
    """)
    check_golden(FUSE, graph, "Pad, Conv, BatchNormalization")


INPUTS = "p = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 2, 3}> () "


@pytest.mark.parametrize(
    ("pad", "opset"),
    [
        ("a = Pad <pads = [0, 0, 1, 0, 0, 0, 2, 3]> (x)", 7),
        ('a = Pad <mode = "constant", pads = [0, 0, 1, 0, 0, 0, 2, 3], value = 0.0> (x)', 9),
        (INPUTS + "a = Pad (x, p)", 11),
        (INPUTS + "z = Constant <value = float {0}> () a = Pad (x, p, z)", 13),
        (
            "p = Constant <value = int64[4] {1, 0, 2, 3}> () ax = Constant <value = int64[2] {2, -1}> () "
            "a = Pad (x, p, , ax)",
            18,
        ),
        (INPUTS + "a = Pad (x, p)", 21),
    ],
)
@pytest.mark.parametrize(
    "attributes", ["", ", pads = [2, 1, 0, 1], strides = [2, 1], dilations = [1, 2]", ', auto_pad = "VALID"']
)
def test_pad_of_every_opset(pad: str, opset: int, attributes: str) -> None:
    graph = depthwise(f"{pad} y = Conv <group = 4{attributes}> (a, w)", opset=opset)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_pads_in_a_row_and_a_scale_between() -> None:
    body = INPUTS + "a = Pad (x, p) c = Mul (a, k) d = Pad (c, p) y = Conv <group = 4> (d, w)"
    graph = depthwise(body, ", float[2,4,10,9] a")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_pad_of_one_and_three_spatial_axes() -> None:
    one = "a = Pad <pads = [0, 0, 1, 0, 0, 2]> (x) y = Conv <group = 2> (a, w)"
    three = "a = Pad <pads = [0, 0, 1, 0, 1, 0, 0, 0, 2, 1]> (x) y = Conv <group = 2> (a, w)"
    for body, data, result, kernel in ((one, "5", "l", "3"), (three, "4,3,5", "d,h,w", "2,2,3")):
        graph = random_layers(
            body, f"float[4,1,{kernel}] w", opset=9, data=f"float[1,2,{data}] x", outputs=f"float[n,c,{result}] y"
        )
        check_pass(FUSE, graph)
        assert ops(graph) == ["Conv"]


@pytest.mark.parametrize(
    ("pad", "attributes", "reason"),
    [
        ("a = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 1.0> (x)", "", "pads with 1.0, not with zero"),
        ("a = Pad <pads = [0, 0, 1, -1, 0, 0, 1, 1]> (x)", "", "crops"),
        ('a = Pad <mode = "reflect", pads = [0, 0, 1, 1, 0, 0, 1, 1]> (x)', "", "mode is reflect"),
        ("a = Pad <pads = [1, 0, 1, 1, 0, 0, 1, 1]> (x)", "", "the batch or the channels"),
        (
            "a = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1]> (x)",
            ', auto_pad = "SAME_UPPER"',
            "auto_pad=SAME_UPPER pads by the size",
        ),
    ],
)
def test_pads_that_stay(pad: str, attributes: str, reason: str) -> None:
    check_refusal(FUSE, depthwise(f"{pad} y = Conv <group = 4{attributes}> (a, w)", opset=9), reason)


def test_a_pad_that_others_read_stays() -> None:
    body = "a = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1]> (x) c = Conv <group = 4> (a, w) y, z = Identity (c), Identity (a)"
    body = body.replace("y, z = Identity (c), Identity (a)", "d = ReduceMax <keepdims = 1> (a) y = Add (c, d)")
    check_refusal(FUSE, depthwise(body, opset=9), "'a' is read by ReduceMax 'd' too")


def test_a_pad_computed_at_run_time_stays() -> None:
    graph = depthwise("a = Pad (x, p) y = Conv <group = 4> (a, w)", data="float[2,4,7,6] x, int64[8] p")
    feeds = {"x": np.ones((2, 4, 7, 6), np.float32), "p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    ctx = check_pass(FUSE, graph, feeds, expect_change=False)
    assert "computed at run time" in ctx.refusals[0].what


def test_a_dense_convolution_is_none_of_its_business() -> None:
    body = "a = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1]> (x) c = Conv (a, v) y = BatchNormalization (c, s, b, m, var)"
    check_pass(FUSE, depthwise(body, ", float[4,4,3,3] v", opset=9), expect_change=False)


# --- affine operations


@pytest.mark.parametrize("after", ["BatchNormalization (a, s, b, m, var)", "Mul (k, a)", "Add (a, k)", "Sub (k, a)"])
@pytest.mark.parametrize("attributes", ["", ", pads = [1, 1, 1, 0]", ", strides = [2, 2], dilations = [2, 1]"])
def test_affine_after(after: str, attributes: str) -> None:
    graph = depthwise(f"a = Conv <group = 4{attributes}> (x, w) y = {after}")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_affine_before_where_nothing_is_padded() -> None:
    graph = depthwise("a = BatchNormalization (x, s, b, m, var) y = Conv <group = 4> (a, w)")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]
    padded = depthwise("a = BatchNormalization (x, s, b, m, var) y = Conv <group = 4, pads = [1, 1, 1, 1]> (a, w)")
    check_refusal(FUSE, padded, "pads with zeros")


def test_a_multiplier() -> None:
    graph = random_layers(
        "a = Mul (x, k) c = Conv <group = 4> (a, w) y = BatchNormalization (c, s, b, m, var)",
        "float[8,1,3,3] w, float[8] s, float[8] b, float[8] m, float[8] var, float[4,1,1] k",
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv"]


def test_between_a_pointwise_and_a_padded_depthwise() -> None:
    """Zeros are padded after the BatchNormalization: it has to go into the 1x1."""
    body = "a = Conv (x, p) c = BatchNormalization (a, s, b, m, var) y = Conv <group = 4, pads = [1, 1, 1, 1]> (c, w)"
    graph = depthwise(body, ", float[4,4,1,1] p")
    check_pass(FUSE, graph)
    assert ops(graph) == ["Conv", "Conv"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv (x, v) y = Conv <group = 4> (a, d, s)",
        "a = Conv <group = 4> (x, d, s) y = Conv (a, v)",
        "a = Conv <group = 4> (x, d, s) c = Conv <group = 4> (a, d) y = Conv (c, v)",
        "a = ConvTranspose (x, v) y = Conv <group = 4> (a, d, s)",
    ],
)
def test_a_one_by_one_depthwise_goes_into_the_layer_next_to_it(body: str) -> None:
    graph = depthwise(body, ", float[4,4,3,3] v, float[4,1,1,1] d")
    check_pass(FUSE, graph)
    assert len(graph.nodes) == 1


def test_weights_that_are_computed_or_overridable() -> None:
    graph = depthwise(
        "v = Relu (w2) a = Conv <group = 4> (x, v) y = Mul (a, k)",
        ", float[1,1,3,3] unused",
        data="float[2,4,7,6] x, float[4,1,3,3] w2",
    )
    assert not run_pass(FUSE, graph)[0]


def test_in_functions_and_subgraphs() -> None:
    graph = parse(
        """
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1,2,3,3] x, bool which) => (float[n,c,h,u] y)
        <float[2,1,1,2] w = {1, 2, 3, 4}, float[2,1,1] k = {2, 3}>
        {
            a = If (which) <
                then_branch = then () => (float[n,c,h,u] t) { c = Conv <group = 2> (x, w) t = Mul (c, k) },
                else_branch = other () => (float[n,c,h,u] e) {
                    p, q = Split <axis = 1> (x)
                    d = Conv <kernel_shape = [1, 2]> (p, v)
                    f = Conv <kernel_shape = [1, 2]> (q, v)
                    e = Concat <axis = 1> (d, f)
                }
            >
            y = local.block (a)
        }
        <domain: "local", opset_import: ["" : 17]>
        block (x) => (y) {
            w = Constant <value = float[2,1,1,1] {3, 4}> ()
            k = Constant <value = float[2,1,1] {2, 5}> ()
            p = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 0, 1}> ()
            a = Pad (x, p)
            c = Conv <group = 2> (a, w)
            y = Mul (c, k)
        }
    """.replace("float[2,1,1] k =", "float[1,1,1,2] v = {5, 6}, float[2,1,1] k =", 1)
    )
    check_golden(FUSE, graph.copy(), "in a function and in subgraphs")
    for which in (True, False):
        feeds = {"x": np.random.default_rng(0).normal(size=(1, 2, 3, 3)).astype(np.float32), "which": np.array(which)}
        check_pass(FUSE, graph.copy(), feeds)
