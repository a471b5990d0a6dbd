"""`fuse-pads`: a Pad becomes the padding of the convolutions and pools behind it, where that computes the same."""

from __future__ import annotations

import re

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_pads import FusePads
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass
from tests.passes.random_weights import ops, random_layers, random_model

FUSE = FusePads()
PAD = "p = Constant <value = int64[8] {0, 0, 1, 2, 0, 0, 0, 1}> () "
ZERO = "zero = Constant <value = float {0}> () "
AXES = "i = Constant <value = int64[2] {{{}}}> () q = Constant <value = int64[4] {{{}}}> () "
INF = "low = Constant <value = float {-inf}> () "


def padded(
    body: str, *, pads: str = "0, 0, 1, 2, 0, 0, 0, 1", opset: int = 17, data: str = "float[2,4,7,6] x"
) -> ir.Graph:
    constants = f"p = Constant <value = int64[8] {{{pads}}}> () " + ZERO if opset > 7 else ""
    return random_layers(constants + body, "float[3,4,3,3] w", opset=opset, data=data)


def test_golden() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,1,2,2] x) => (float[1,1,3,4] y)
        <int64[8] p = {0, 0, 1, 2, 0, 0, 0, 1}, float[1,1,1,2] w = {1, 2}>
        { [pad] a = Pad (x, p) [conv] y = Conv <kernel_shape = [1, 2]> (a, w) }
    """)
    check_golden(FUSE, graph.copy(), "Pad and Conv")
    check_pass(FUSE, graph)


@pytest.mark.parametrize(
    "conv",
    [
        "<pads = [1, 0, 0, 3]>",
        "<strides = [2, 2], dilations = [1, 2]>",
        '<auto_pad = "VALID">',
        '<auto_pad = "NOTSET", pads = [0, 1, 0, 1]>',
    ],
)
def test_convs(conv: str) -> None:
    graph = padded(f"a = Pad (x, p, zero) y = Conv {conv} (a, w)")
    check_pass(FUSE, graph)
    assert ops(graph)[-1] == "Conv" and "Pad" not in ops(graph)


def test_padding_wider_than_the_kernel_of_a_conv() -> None:
    graph = padded("a = Pad (x, p) y = Conv (a, w)", pads="0, 0, 5, 4, 0, 0, 7, 9")
    check_pass(FUSE, graph)
    assert graph.nodes[-1].attrs["pads"] == [5, 4, 7, 9]


@pytest.mark.parametrize(
    ("spatial", "kernel", "pads"), [("9", "3", "0,0,1, 0,0,2"), ("5,4,6", "2,1,3", "0,0,1,0,2, 0,0,0,1,1")]
)
def test_one_and_three_spatial_axes(spatial: str, kernel: str, pads: str) -> None:
    out = ",".join("abcde"[: spatial.count(",") + 3])
    graph = random_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2,3,{spatial}] x) => (float[{out}] y) '
        f"<float[4,3,{kernel}] w> "
        f"{{ p = Constant <value = int64[{pads.count(',') + 1}] {{{pads}}}> () a = Pad (x, p) y = Conv (a, w) }}"
    )
    check_pass(FUSE, graph)
    assert "Pad" not in ops(graph)


@pytest.mark.parametrize(
    ("pad", "opset"),
    [
        ("a = Pad <pads = [0, 0, 1, 2, 0, 0, 0, 1]> (x)", 7),
        ('a = Pad <mode = "constant", pads = [0, 0, 1, 2, 0, 0, 0, 1], value = 0.0> (x)', 10),
        ("a = Pad (x, p)", 11),
        ("a = Pad (x, p, zero)", 13),
        (
            AXES.format("2, -1", "1, 2, 0, 1") + "a = Pad (x, q, zero, i)",
            18,
        ),
        (
            AXES.format("3, 2", "2, 1, 1, 0") + "a = Pad (x, q, , i)",
            21,
        ),
    ],
)
def test_pad_of_every_opset(pad: str, opset: int) -> None:
    graph = padded(f"{pad} y = Conv (a, w)", opset=opset)
    check_pass(FUSE, graph)
    assert graph.nodes[-1].attrs["pads"] == [1, 2, 0, 1]


@pytest.mark.parametrize(
    "pool",
    [
        "<kernel_shape = [3, 4]>",
        "<kernel_shape = [3, 4], strides = [2, 3]>",
        "<kernel_shape = [3, 5], pads = [1, 1, 1, 0], count_include_pad = 1>",
        '<kernel_shape = [2, 3], auto_pad = "VALID">',
    ],
)
@pytest.mark.parametrize("opset", [11, 17, 21])
def test_average_pool_counts_the_zeros(pool: str, opset: int) -> None:
    graph = padded(f"a = Pad (x, p, zero) y = AveragePool {pool} (a)", opset=opset)
    check_pass(FUSE, graph)
    assert "Pad" not in ops(graph) and graph.nodes[-1].attrs["count_include_pad"] == 1


@pytest.mark.parametrize(
    "body",
    [
        "a = Pad (x, p, low) y = MaxPool <kernel_shape = [2, 3]> (a)",
        "a = Pad (x, p, low) y = MaxPool <kernel_shape = [3, 4], strides = [2, 2], pads = [0, 1, 1, 0]> (a)",
        "r = Relu (x) a = Pad (r, p) y = MaxPool <kernel_shape = [3, 3]> (a)",
        "r = Mul (x, x) a = Pad (r, p, zero) y = MaxPool <kernel_shape = [3, 3], strides = [3, 1]> (a)",
        "r = Clip (x, zero) s = Identity (r) a = Pad (s, p) y = MaxPool <kernel_shape = [3, 3]> (a)",
    ],
)
def test_max_pool(body: str) -> None:
    graph = padded(INF + body)
    check_pass(FUSE, graph)
    assert "Pad" not in ops(graph)


def test_pads_in_a_row() -> None:
    graph = padded("a = Pad (x, p) b = Pad (a, p) y = Conv <pads = [1, 1, 1, 1]> (b, w)")
    check_pass(FUSE, graph)
    assert graph.nodes[-1].attrs["pads"] == [3, 5, 1, 3]


def test_a_pad_that_several_read_goes_into_all_or_none() -> None:
    both = "a = Pad (x, p) c = Conv (a, w) d = Conv <dilations = [1, 1]> (a, w) y = Add (c, d)"
    graph = padded(both)
    ctx = check_pass(FUSE, graph)
    assert "Pad" not in ops(graph) and len(ctx.rewrites) == 1
    graph = padded("a = Pad (x, p) c = Conv (a, w) d = Relu (a) e = Conv (d, w) y = Add (c, e)")
    ctx = check_pass(FUSE, graph, expect_change=False)
    assert re.search("read by Relu '.*' too", ctx.refusals[0].what)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('a = Pad <mode = "reflect"> (x, p) y = Conv (a, w)', "its mode is reflect"),
        ("a = Pad (x, p, one) y = Conv (a, w)", "pads with 1.0, not with zero"),
        ("a = Pad (x, given) y = Conv (a, w)", "pads 'given' are computed"),
        ("a = Pad (x, channels) b = Relu (a) y = Conv (a, w)", "read by|batch or the channels"),
        ("a = Pad (x, channels) y = MaxPool <kernel_shape = [2, 2]> (a)", "batch or the channels"),
        ("a = Pad (x, crop) y = Conv (a, w)", "crops"),
        ('a = Pad (x, p) y = Conv <auto_pad = "SAME_UPPER"> (a, w)', "auto_pad=SAME_UPPER"),
        ("a = Pad (x, p) y = Conv (a, v)", "weight 'v' is not constant"),
        ("a = Pad (x, p) y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a)", "does not count"),
        ("a = Pad (x, p) y = AveragePool <kernel_shape = [3, 3], ceil_mode = 1> (a)", "rounds up"),
        ("a = Pad (x, p) y = AveragePool <kernel_shape = [2, 2]> (a)", "padding alone, which runtimes refuse"),
        ("a = Pad (x, p, one) y = AveragePool <kernel_shape = [3, 3]> (a)", "pads with 1.0"),
        ("a = Pad (x, p) y = MaxPool <kernel_shape = [3, 3]> (a)", "'x' may be negative"),
        ("r = Relu (x) a = Pad (r, p, one) y = MaxPool <kernel_shape = [3, 3]> (a)", "not with zero or -inf"),
        ("r = Relu (x) a = Pad (r, p) y = MaxPool <kernel_shape = [2, 2]> (a)", "padding alone, which"),
        ("a = Pad (x, p, low) y = MaxPool <kernel_shape = [3, 3], ceil_mode = 1> (a)", "rounds up"),
        ("a = Pad (x, p, low) y = MaxPool <kernel_shape = [3, 3], dilations = [2, 1]> (a)", "is dilated"),
        ("a = Pad (x, p, low) y, i = MaxPool <kernel_shape = [3, 3]> (a)", "gives out indices"),
    ],
)
def test_refusals(body: str, reason: str) -> None:
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2,4,7,6] x, float[3,4,3,3] v, int64[8] given) => (float[a,b,c,d] y) <float[3,4,3,3] w> {{
            {PAD} {ZERO} {INF} one = Constant <value = float {{1}}> ()
            channels = Constant <value = int64[8] {{0, 1, 0, 0, 0, 0, 0, 0}}> ()
            crop = Constant <value = int64[8] {{0, 0, 1, -1, 0, 0, 0, 0}}> () {body} }}
    """)
    changed, ctx = run_pass(FUSE, graph)
    assert not changed and any(re.search(reason, said.what) for said in ctx.refusals), ctx.refusals


def test_what_reads_no_window_is_no_near_match() -> None:
    graph = padded("a = Pad (x, p) y = Relu (a)")
    assert not check_pass(FUSE, graph, expect_change=False).refusals


def test_a_padded_value_that_is_an_output_stays() -> None:
    graph = random_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,4,7,6] x) => (float[a,b,c,d] y, float[2,4,8,9] a) '
        f"<float[3,4,3,3] w> {{ {PAD} a = Pad (x, p) y = Conv (a, w) }}"
    )
    ctx = check_pass(FUSE, graph, expect_change=False)
    assert "is a graph output" in ctx.refusals[0].what


@pytest.mark.parametrize("size", [4, 9])
def test_symbolic_sizes(size: int) -> None:
    graph = padded("a = Pad (x, p) y = Conv (a, w)", data="float[n,4,h,w] x")
    check_pass(FUSE, graph, {"x": np.ones((2, 4, size, size + 1), np.float32)})
    assert "Pad" not in ops(graph)


def test_in_a_subgraph_and_a_function() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1,1,3,3] x, bool which) => (float[1,1,c,d] y) <float[1,1,2,2] w = {1, 2, 3, 4}> {
            outer = Constant <value = int64[8] {0, 0, 1, 1, 0, 0, 0, 0}> ()
            above = Pad (x, outer)
            a = If (which) <
                then_branch = then () => (float[1,1,3,3] t) { p = Pad (x, outer) t = Conv (p, w) },
                else_branch = other () => (float[1,1,3,3] e) { e = Conv (above, w) }
            >
            y = local.block (a)
        }
        <domain: "local", opset_import: ["" : 17]>
        block (x) => (y) {
            w = Constant <value = float[1,1,1,1] {3}> ()
            p = Constant <value = int64[8] {0, 0, 0, 0, 0, 0, 1, 0}> ()
            a = Pad (x, p)
            y = Conv (a, w)
        }
    """)
    ctx = check_pass(FUSE, graph, {"x": np.ones((1, 1, 3, 3), np.float32), "which": np.array(True)})
    assert [node.op for node in ir.every_node(graph)].count("Pad") == 1
    assert any("outside the subgraph" in said.what for said in ctx.refusals)


def test_the_limit() -> None:
    graph = padded("a = Pad (x, p) y = Conv (a, w)")
    changed, ctx = run_pass(FUSE, graph, limit=0)
    assert not changed and not ctx.rewrites


def test_infinity_that_is_padded_again_stays_infinity() -> None:
    """Of a window of -inf and of padding alone, onnxruntime takes the lowest number."""
    pad = "Pad <pads = [0, 0, 0, 1, 0, 0, 0, 1], value = -inf>"
    graph = parse(f"""
        <ir_version: 5, opset_import: ["" : 10]> g (float[1,3,5,5] x) => (float[1,3,5,8] y, float[1,3,5,7] p)
        {{ p = {pad} (x) q = {pad} (p) y = MaxPool <kernel_shape = [1, 2]> (q) }}""")
    check_refusal(FUSE, graph, "may pad with -inf too")
