"""Every operator's rule: what is removed behind it and before it, held to the model with those channels zeroed."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from tests.pruning.channel_models import CONV, FIRST, LAST, model
from tests.pruning.zeroed import check_pruning, structure_of

Y = "float[N, 5, p, q]"
BETWEEN = {
    "activation": ("", "r = Relu (c)"),
    "activation that is not 0 at 0": ("", "r = Sigmoid (c)"),
    "clip": ("", "let float[1] low = [0] lo = Squeeze (low) r = Clip (c, lo)"),
    "prelu": ("s 8 1 1", "r = PRelu (c, s)"),
    "cast": ("", "h = Cast <to = 11> (c) r = Cast <to = 1> (h)"),
    "arithmetic with a number for each channel": ("s 8 1 1; t 1 8 1 1", "a = Mul (c, s) r = Add (t, a)"),
    "arithmetic with one number": ("s 1", "r = Sub (c, s)"),
    "batch normalization": ("g 8; t 8; m 8; var 8", "r = BatchNormalization (c, g, t, m, var)"),
    "instance normalization": ("g 8; t 8", "r = InstanceNormalization (c, g, t)"),
    "max pool": ("", "r = MaxPool <kernel_shape = [2, 2]> (c)"),
    "average pool": ("", "r = AveragePool <kernel_shape = [2, 2]> (c)"),
    "global pool": ("", "r = GlobalAveragePool (c)"),
    "depthwise": ("d 8 1 3 3; e 8", "r = Conv <group = 8> (c, d, e)"),
    "depthwise with two outputs a channel": (
        "d 16 1 3 3; f 8 16 1 1",
        "k = Conv <group = 8> (c, d) r = Conv (k, f)",
    ),
    "depthwise transposed": ("d 8 1 2 2", "r = ConvTranspose <group = 8> (c, d)"),
    "transposed": ("d 8 8 2 2; e 8", "r = ConvTranspose <strides = [2, 2]> (c, d, e)"),
    "mean over the image": ("", "let int64[2] axes = [2, 3] r = ReduceMean (c, axes)"),
    "squeeze and excitation": (
        "q 4 8 1 1; p 8 4 1 1",
        "m = GlobalAveragePool (c) s = Conv (m, q) t = Relu (s) u = Conv (t, p) g = HardSigmoid (u) "
        "r = Mul (c, g)",
    ),
    "residual": ("k 8 8 1 1", "a = Relu (c) s = Conv (a, k) r = Add (a, s)"),
    "transposed axes and back": (
        "",
        "t = Transpose <perm = [0, 2, 3, 1]> (c) u = Relu (t) r = Transpose <perm = [0, 3, 1, 2]> (u)",
    ),
    "padding of the image": ("", "let int64[8] pads = [0, 0, 1, 1, 0, 0, 1, 1] r = Pad (c, pads)"),
    "resize by scales": ("", "let float[4] scales = [1, 1, 2, 2] r = Resize <mode = \"nearest\"> (c, , scales)"),
    "resize by sizes": ("", "let int64[4] sizes = [2, 8, 16, 16] r = Resize <mode = \"nearest\"> (c, , , sizes)"),
    "concat with itself changed": (
        "k 8 16 1 1",
        "a = Relu (c) n = Neg (c) j = Concat <axis = 1> (a, n) r = Conv (j, k)",
    ),
    "split": (
        "",
        "let int64[2] parts = [3, 5] a, e = Split <axis = 1> (c, parts) n = Neg (a) "
        "r = Concat <axis = 1> (n, e)",
    ),
    "split into equal parts": (
        "k 8 4 1 1",
        "a, e = Split <axis = 1, num_outputs = 2> (c) m = Mul (a, e) r = Conv (m, k)",
    ),
    "slice": (
        "k 8 3 1 1",
        "let int64[1] from = [2] let int64[1] to = [5] let int64[1] at = [1] s = Slice (c, from, to, at) "
        "r = Conv (s, k)",
    ),
    "gather": ("", "let int64[8] which = [7, 5, 3, 1, 0, 2, 4, -2] r = Gather <axis = 1> (c, which)"),
    "tile": ("k 8 16 1 1", "let int64[4] times = [1, 2, 1, 1] t = Tile (c, times) r = Conv (t, k)"),
    "expand": ("", "let int64[4] to = [1, 1, 1, 1] r = Expand (c, to)"),
    "depth to space": ("k 8 2 1 1", "d = DepthToSpace <blocksize = 2> (c) r = Conv (d, k)"),
    "depth to space, columns first": (
        "k 8 2 1 1",
        'd = DepthToSpace <blocksize = 2, mode = "CRD"> (c) r = Conv (d, k)',
    ),
    "space to depth": ("k 8 32 1 1", "d = SpaceToDepth <blocksize = 2> (c) r = Conv (d, k)"),
    "softmax over the image": ("", "r = Softmax <axis = 3> (c)"),
    "quantization with one scale": (
        "",
        "let float[1] one = [0.05] s = Squeeze (one) q = QuantizeLinear (c, s) "
        "r = DequantizeLinear (q, s)",
    ),
    "quantization by channels": (
        "var 8",
        "q = QuantizeLinear <axis = 1> (c, var) r = DequantizeLinear <axis = 1> (q, var)",
    ),
    "mean and variance of each image": ("", "r = MeanVarianceNormalization <axes = [2, 3]> (c)"),
    "norm along rows": ("", "r = LpNormalization <axis = 3> (c)"),
    "where": ("z 1", "k = Greater (c, z) r = Where (k, c, z)"),
    "sum of three": ("s 8 1 1", "r = Sum (c, s, c)"),
    "reshape that leaves channels": (
        "",
        "let int64[3] flat = [0, 8, -1] f = Reshape (c, flat) g = Relu (f) let int64[4] "
        "image = [0, 8, 8, 8] r = Reshape (g, image)",
    ),
    "channel shuffle": (
        "",
        "let int64[5] pairs = [-1, 2, 4, 8, 8] f = Reshape (c, pairs) "
        "g = Transpose <perm = [0, 2, 1, 3, 4]> (f) let int64[4] image = [-1, 8, 8, 8] "
        "r = Reshape (g, image)",
    ),
    "a statistic of groups of channels, spelled out": (
        "g 4; t 4",
        "let int64[3] flat = [0, 4, -1] f = Reshape (c, flat) i = InstanceNormalization (f, g, t) "
        "let int64[4] image = [0, 8, 8, 8] r = Reshape (i, image)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", BETWEEN)
@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_between_two_layers(rule: str, ratio: float) -> None:
    weights, body = BETWEEN[rule]
    graph = model(FIRST + LAST + "; " + weights, CONV + body + " y = Conv (r, v)", y=Y)
    found = check_pruning(graph, ratio)
    assert ir.costs(found, {"N": 2}).parameters < ir.costs(graph, {"N": 2}).parameters


LAYERS = {
    "conv": (FIRST + LAST, CONV + "y = Conv (c, v)", {}),
    "conv without bias": ("w 8 3 3 3; " + LAST, "c = Conv (x, w) y = Conv (c, v)", {}),
    "grouped conv, whole groups": (
        FIRST + "k 8 2 3 3; " + LAST, CONV + "g = Conv <group = 4> (c, k) y = Conv (g, v)", {"groups": 1},
    ),
    "few large groups: the same channels of each": (
        FIRST + "k 12 4 1 1; f 5 12 1 1", CONV + "g = Conv <group = 2> (c, k) y = Conv (g, f)", {"groups": 2},
    ),
    "few large groups, transposed": (
        FIRST + "k 8 6 1 1; f 5 12 1 1", CONV + "g = ConvTranspose <group = 2> (c, k) y = Conv (g, f)", {"groups": 2},
    ),
    "group normalization": (
        FIRST + LAST + "; s 8; t 8", CONV + "g = GroupNormalization <num_groups = 4> (c, s, t) y = Conv (g, v)", {},
    ),
    "flatten and gemm": (
        FIRST + "m 512 5; n 5", CONV + "f = Flatten (c) y = Gemm (f, m, n)", {"y": "float[N, 5]"},
    ),
    "flatten of positions first": (
        FIRST + "m 512 5", CONV + "t = Transpose <perm = [0, 2, 3, 1]> (c) f = Flatten (t) y = Gemm (f, m)",
        {"y": "float[N, 5]"},
    ),
    "gemm to gemm, transposed": (
        "w 8 16; b 8; m 8 5", "g = Gemm <transB = 1> (x, w, b) r = Relu (g) y = Gemm <alpha = 0.5> (r, m)",
        {"x": "float[N, 16]", "y": "float[N, 5]", "groups": 1},
    ),
    "matmul to matmul": (
        "w 16 8; b 8; m 8 5", "g = MatMul (x, w) a = Add (g, b) r = Gelu (a) y = MatMul (r, m)",
        {"x": "float[N, 7, 16]", "y": "float[N, 7, 5]", "groups": 1},
    ),
    "weights on the left": (
        "w 8 7; m 5 8", "g = MatMul (w, x) r = Relu (g) y = MatMul (m, r)",
        {"x": "float[N, 7, 16]", "y": "float[N, 5, 16]", "groups": 0},
    ),
    "einsum": (
        "w 16 8; m 8 5",
        'g = Einsum <equation = "btc,cd->btd"> (x, w) r = Tanh (g) '
        'y = Einsum <equation = "btd,de->bte"> (r, m)',
        {"x": "float[N, 7, 16]", "y": "float[N, 7, 5]", "groups": 1},
    ),
    "sum over channels": (
        FIRST, CONV + "let int64[1] at = [1] y = ReduceSum (c, at)", {"y": "float[N, 1, 8, 8]"},
    ),
    "norm over channels": (
        FIRST, CONV + "let int64[1] at = [1] y = ReduceL2 <keepdims = 0> (c, at)", {"y": "float[N, 8, 8]"},
    ),
    "embedding": (
        "e 20 8; m 8 5", "g = Gather (e, x) r = Relu (g) y = MatMul (r, m)",
        {"x": "int64[2, 7]", "y": "float[2, 7, 5]"},
    ),
    "features of a recurrent layer": (
        "w 16 8; k 1 12 8; q 1 12 4", "f = MatMul (x, w) y = GRU <hidden_size = 4> (f, k, q)",
        {"x": "float[7, 2, 16]", "y": "float[7, 1, 2, 4]", "groups": 1},
    ),
    "weights that are Constant nodes": (
        "v 1 3 1 1", "c = Conv (x, v) k = Constant <value = float[4, 1, 1, 1] {1, -2, 3, 0.5}> ()"
        " d = Conv (c, k) f = Constant <value = float[1, 4, 1, 1] {3, 1, 2, -1}> () y = Conv (d, f)",
        {"y": "float[N, 1, 8, 8]"},
    ),
    "weights moved before they are read": (
        "w 8 16; m 8 5", "t = Transpose (w) g = MatMul (x, t) y = MatMul (g, m)",
        {"x": "float[N, 7, 16]", "y": "float[N, 7, 5]", "groups": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", LAYERS)
@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_layers(rule: str, ratio: float) -> None:
    weights, body, options = LAYERS[rule]
    groups = options.get("groups")
    options = {key: value for key, value in options.items() if key != "groups"}
    graph = model(weights, body, **({"y": Y} | options))
    feeds = {"x": np.arange(14).reshape(2, 7)} if rule == "embedding" else None
    check_pruning(graph, ratio, feeds=feeds, groups=groups)


OLD = {
    "split by an attribute": (
        12,
        "",
        "a, e = Split <axis = 1, split = [3, 5]> (c) n = Neg (a) r = Concat <axis = 1> (n, e)",
    ),
    "split into equal parts": (12, "", "a, e = Split <axis = 1> (c) n = Neg (a) r = Concat <axis = 1> (n, e)"),
    "slice by attributes": (9, "", "r = Slice <axes = [1], starts = [0], ends = [9]> (c)"),
    "mean by attributes": (11, "", "r = ReduceMean <axes = [2, 3]> (c)"),
    "softmax over the last axes": (11, "", "r = Softmax <axis = 2> (c)"),
    "upsample": (9, "", 'let float[4] scales = [1, 1, 2, 2] r = Upsample <mode = "nearest"> (c, scales)'),
    "clip by attributes": (10, "", "r = Clip <min = 0.0, max = 6.0> (c)"),
    "squeeze by attributes": (
        11,
        "",
        "m = GlobalAveragePool (c) s = Squeeze <axes = [2, 3]> (m) r = Unsqueeze <axes = [2, 3]> (s)",
    ),
}


@pytest.mark.parametrize("rule", OLD)
def test_old_opsets(rule: str) -> None:
    opset, weights, body = OLD[rule]
    check_pruning(model(FIRST + LAST + weights, CONV + body + " y = Conv (r, v)", y=Y, opset=opset), 0.4)


def test_units_of_the_groups_of_a_spelled_out_normalization() -> None:
    weights, body = BETWEEN["a statistic of groups of channels, spelled out"]
    graph = model(FIRST + LAST + "; " + weights, CONV + body + " y = Conv (r, v)", y=Y)
    (group,) = structure_of(graph).groups
    assert group.units == 4


def test_a_rule_says_nothing_of_what_it_does_not_know() -> None:
    """An image's height and width are no channels, though each tensor has an axis of 8."""
    graph = model(FIRST + LAST, CONV + "r = Relu (c) y = Conv (r, v)", x="float[2, 3, 8, 8]", y="float[2, 5, 8, 8]")
    (group,) = structure_of(graph).groups
    names = {(axis.of.name, axis.number) for axis in group.at if isinstance(axis.of, ir.Tensor)}
    assert names == {("w", 0), ("b", 0), ("c", 1), ("r", 1), ("v", 1)}
