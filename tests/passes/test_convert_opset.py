"""`convert-opset`: the same outputs at another opset, or a refusal that names the node."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxopt import ir
from onnxopt.opsets import NEWEST
from onnxopt.opsets.draft import schema_of
from onnxopt.opsets.steps import DOWN, UP, changes
from onnxopt.pipeline.base import Preserves
from tests.passes.checks import assert_equal_outputs, check_golden, check_pass, random_feeds, run, run_pass
from tests.passes.opset_models import IMAGE, ROI, TO, model

UPWARDS = {
    "reduce mean": (13, 20, "y = ReduceMean <axes = [1, -1]> (x)"),
    "reduce over all": (11, 20, "y = ReduceSum <keepdims = 0> (x)"),
    "reduce over no axes named": (13, 18, "y = ReduceMax (x)"),
    "squeeze": (11, 13, "a = Unsqueeze <axes = [0]> (x) y = Squeeze <axes = [0]> (a)"),
    "squeeze whatever has length one": (11, 18, "a = Unsqueeze <axes = [1]> (x) y = Squeeze (a)"),
    "slice": (9, 17, "y = Slice <axes = [1], starts = [1], ends = [-1]> (x)"),
    "slice from the first axis on": (7, 17, "y = Slice <starts = [0, 1], ends = [1, 9]> (x)"),
    "top k": (9, 17, "y, i = TopK <k = 3, axis = 1> (x)"),
    "clip": (9, 17, "y = Clip <min = -0.5, max = 0.25> (x)"),
    "clip below only": (6, 13, "y = Clip <min = 0.0> (x)"),
    "pad": (9, 18, "y = Pad <pads = [0, 1, 0, 0, 0, 2], value = 1.5> (x)"),
    "pad with nothing said": (9, 18, "y = Pad <pads = [0, 1, 0, 0, 0, 2]> (x)"),
    "pad by reflection": (9, 18, 'y = Pad <pads = [0, 1, 0, 0, 0, 2], mode = "reflect", value = 7.0> (x)'),
    "split": (11, 18, "y, z = Split <axis = 1, split = [2, 4]> (x)"),
    "split equally": (11, 18, "y, z = Split <axis = 1> (x)"),
    "softmax over all but one axis": (12, 13, "y = Softmax (x)"),
    "softmax over the last axis": (11, 13, "y = Softmax <axis = 2> (x)"),
    "softmax from the end": (11, 22, "y = Softmax <axis = -2> (x)"),
    "log softmax over everything": (9, 13, "y = LogSoftmax <axis = 0> (x)"),
    "hardmax": (12, 13, "y = Hardmax <axis = 1> (x)"),
    "dropout": (11, 13, "y = Dropout <ratio = 0.3> (x)"),
    "dropout with a mask that nobody reads": (9, 22, "y, mask = Dropout (x)"),
    "depth to space": (9, 13, "a = Unsqueeze <axes = [0]> (x) y = DepthToSpace <blocksize = 1> (a)"),
    "nothing to do": (7, 22, "a = Relu (x) y = Add (a, x)"),
    "old, and the same ever since": (5, 13, "y = GlobalAveragePool (x)"),
}  # fmt: skip


@pytest.mark.parametrize("case", UPWARDS)
def test_goes_up(case: str) -> None:
    source, target, body = UPWARDS[case]
    graph = model(source, body)
    check_pass(TO(target), graph)
    assert graph.opset == target


IMAGES = {
    "upsample, nearest": (9, 13, "s = Constant <value = float[4] {1., 1., 2., 3.}> () "
                          'y = Upsample <mode = "nearest"> (x, s)'),
    "upsample, nearest, opset 7": (7, 18, 'y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 1.5]> (x)'),
    "upsample, to be computed": (9, 13, "t = Constant <value = float[4] {1., 1., 2., 3.}> () s = Abs (t) "
                                'y = Upsample <mode = "nearest"> (x, s)'),
    "upsample, linear": (8, 19, 'y = Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]> (x)'),
    "resize of opset 10, linear": (10, 18, "s = Constant <value = float[4] {1., 1., 0.6, 2.}> () "
                                   'y = Resize <mode = "linear"> (x, s)'),
    "resize to sizes": (11, 20, "r = Constant <value = float[0] {}> () n = Constant <value = int64[4] {1, 4, 9, 9}> () "
                        'y = Resize <mode = "cubic", coordinate_transformation_mode = "align_corners"> (x, r, r, n)'),
    "batch normalization, opset 7": (7, 15, "c = Constant <value = float[4] {1., 2., 3., 4.}> () "
                                     "y = BatchNormalization <spatial = 1> (x, c, c, c, c)"),
    "max pool": (8, 22, "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)"),
    "max pool that rounds up": (11, 22, "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)"),
    "average pool": (7, 22, "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)"),
    "region of interest": (10, 21, ROI),
    "grid of opset 16": (16, 20, "g = Constant <value = float[1,2,2,2] {0., 0.1, -0.5, 0.7, 1., -0.2, 0.3, 0.4}> () "
                         'y = GridSample <mode = "bicubic"> (x, g)'),
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_goes_up_with_images(case: str) -> None:
    source, target, body = IMAGES[case]
    check_pass(TO(target), model(source, body, x=IMAGE))


BY_ATTRIBUTE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "along an axis": ("b = Constant <value = float[6] {1., 2., 3., 4., 5., 6.}> () "
                      "y = Add <broadcast = 1, axis = 1> (x, b)", lambda x: x + np.arange(1, 7)[:, None]),
    "along the last axis": ("b = Constant <value = float[4] {1., 2., 3., 4.}> () y = Mul <broadcast = 1> (x, b)",
                            lambda x: x * np.arange(1, 5)),
    "along an axis from the end": ("b = Constant <value = float[6,1] {1., 2., 3., 4., 5., 6.}> () "
                                   "y = Sub <broadcast = 1, axis = -2> (x, b)", lambda x: x - np.arange(1, 7)[:, None]),
    "equal shapes": ("y = Sub (x, x)", lambda x: x - x),
    "slopes of channels": ("s = Constant <value = float[6] {1., 2., 3., 4., 5., 6.}> () y = PRelu (x, s)",
                           lambda x: np.where(x < 0, x * np.arange(1, 7)[:, None], x)),
    "one slope": ("s = Constant <value = float[1] {0.5}> () y = PRelu (x, s)", lambda x: np.where(x < 0, x * 0.5, x)),
    "dropout": ("y = Dropout <is_test = 1> (x)", lambda x: x),
    "batch normalization": ("c = Constant <value = float[6] {1., 2., 3., 4., 5., 6.}> () "
                            "y = BatchNormalization <is_test = 1, epsilon = 0.0> (x, c, c, c, c)",
                            lambda x: (x / np.arange(1, 7)[:, None] ** 0.5 - np.arange(1, 7)[:, None] ** 0.5 + 1)
                            * np.arange(1, 7)[:, None]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_ATTRIBUTE)
def test_opset_6(case: str) -> None:
    """No runtime at hand has these kernels: numpy tells what they were."""
    body, expected = BY_ATTRIBUTE[case]
    graph = model(6, body)
    changed, _ = run_pass(TO(15), graph)
    assert changed
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    feeds = random_feeds(proto)
    assert_equal_outputs({"y": expected(feeds["x"]).astype(np.float32)}, run(proto, feeds), Preserves.VALUES)


DOWNWARDS = {
    "reduce mean": (18, 17, "a = Constant <value = int64[1] {1}> () y = ReduceMean <noop_with_empty_axes = 1> (x, a)"),
    "reduce over all": (20, 13, "y = ReduceMax (x)"),
    "pad some axes": (21, 17, "p = Constant <value = int64[2] {1, 2}> () a = Constant <value = int64[1] {-2}> () "
                      "y = Pad (x, p, , a)"),
    "split equally": (18, 13, "y, z = Split <axis = 1, num_outputs = 2> (x)"),
    "split unequally": (18, 17, "a = Concat <axis = 2> (x, x) y, z, u = Split <axis = 2, num_outputs = 3> (a)"),
    "part of a shape": (17, 13, "s = Shape <start = 1, end = -1> (x) y = Cast <to = 1> (s)"),
    "end of a shape": (19, 13, "s = Shape <start = -2> (x) y = Cast <to = 1, saturate = 1> (s)"),
    "reshape": (19, 13, "s = Constant <value = int64[2] {-1, 6}> () y = Reshape <allowzero = 1> (x, s)"),
    "defaults that are said": (19, 13, "d = Cast <to = 11, saturate = 0> (x) y = Cast <to = 1> (d)"),
    "grid of images": (22, 17, "a = Constant <value = int64[1] {0}> () i = Unsqueeze (x, a) "
                       "g = Constant <value = float[1,1,2,2] {0., 0.1, -0.5, 0.7}> () "
                       'y = GridSample <mode = "cubic"> (i, g)'),
    "resize some axes": (19, 13, "s = Constant <value = float[1] {2.0}> () "
                         'y = Resize <axes = [2], mode = "linear"> (x, , s)'),
    "nothing to do": (22, 13, "a = Relu (x) y = Add (a, x)"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOWNWARDS)
def test_goes_down(case: str) -> None:
    source, target, body = DOWNWARDS[case]
    check_pass(TO(target), model(source, body))


REFUSED = {
    "no such operator": (20, 17, "y = Gelu (x)", "Gelu.*version 17 has no such operator; it came with 20"),
    "unknown operator": (17, 20, "y = Elsewhere (x)", "version 17 has no such operator"),
    "computed axes": (18, 17, "n = Shape (x) y = ReduceMean (x, n)", "'axes' is computed"),
    "over no axis": (18, 17, "y = ReduceMean <noop_with_empty_axes = 1> (x)", "noop_with_empty_axes"),
    "mode of a newer opset": (19, 18, 'n = Constant <value = int64[6] {0,0,1,0,0,1}> () y = Pad <mode = "wrap"> (x, n)',
                              "no mode 'wrap'"),
    "antialias": (18, 17, "s = Constant <value = float[3] {1., 0.5, 0.5}> () "
                  'y = Resize <antialias = 1, mode = "linear"> (x, , s)', "'antialias' cannot be said at opset 17"),
    "zero in a shape": (14, 13, "n = Shape (x) y = Reshape <allowzero = 1> (x, n)", "copies a dimension"),
    "training": (13, 14, "c = Constant <value = float[6] {1.,1.,1.,1.,1.,1.}> () "
                 "y, m, v, n, w = BatchNormalization (x, c, c, c, c)", "it trains"),
    "training in opset 6": (6, 13, "y = Dropout (x)", "it trains"),
    "mask that is read": (10, 13, "y, m = Dropout (x) z = Cast <to = 1> (m)", "mask 'm' is used"),
    "nearest when it shrinks": (10, 13, "s = Constant <value = float[3] {1., 0.5, 2.}> () y = Resize (x, s)",
                                "which sample is the nearest"),
    "window in the padding": (12, 22, "y = MaxPool <kernel_shape = [2], strides = [2], pads = [0, 1], ceil_mode = 1> "
                              "(x)", "starts in the padding"),
    "too old": (5, 13, "y = Relu (x)", "of opset 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    source, target, body, reason = REFUSED[case]
    graph = model(source, body)
    before = ir.to_text(graph)
    changed, ctx = run_pass(TO(target), graph)
    assert not changed and ir.to_text(graph) == before
    assert not ctx.rewrites
    said = f"{ctx.refusals[0].where}: {ctx.refusals[0].what}"
    assert re.search(reason, said), said
    assert ctx.warnings[0].startswith(f"convert-opset: the model stays at opset {source}: ")


def test_golden() -> None:
    check_golden(TO(20), model(12, UPWARDS["softmax over all but one axis"][2]), "softmax over several axes")
    check_golden(TO(18), model(11, "a, b = Split <axis = 1> (x) m = ReduceMean <axes = [1]> (a) y = Add (m, b)"), "up")
    check_golden(TO(13), model(18, DOWNWARDS["part of a shape"][2]), "part of a shape, down")


def test_up_and_down_again_is_the_same() -> None:
    graph = model(13, "m = ReduceMean <axes = [1]> (x) a, b = Split <axis = 1> (x) c = Concat <axis = 1> (b, a) "
                      "y = Sub (c, m)")  # fmt: skip
    text = ir.to_text(graph)
    check_pass(TO(22), graph)
    check_pass(TO(13), graph)
    assert ir.to_text(graph) == text


def test_group_normalization_scales_channels_since_21() -> None:
    """No runtime at hand has the operator of opset 18, which the specification withdrew: numpy tells what it was."""
    graph = model(18, "s = Constant <value = float[2] {1., 3.}> () b = Constant <value = float[2] {0.5, -1.}> () "
                      "y = GroupNormalization <num_groups = 2, epsilon = 0.0> (x, s, b)")  # fmt: skip
    feeds = random_feeds(ir.to_proto(graph))
    changed, _ = run_pass(TO(21), graph)
    groups = feeds["x"].reshape(2, 2, 12)
    normal = (groups - groups.mean(2, keepdims=True)) / groups.std(2, keepdims=True)
    expected = normal * np.array([1, 3])[:, None] + np.array([0.5, -1])[:, None]
    assert changed
    np.testing.assert_allclose(run(ir.to_proto(graph), feeds)["y"], expected.reshape(2, 6, 4), rtol=1e-4, atol=1e-5)


def test_the_tables_have_every_change_that_the_specification_made() -> None:
    """Where a version takes something away or changes a default, there is an adapter, or it is known here."""
    left = {
        "BatchNormalization 9": "spatial = 1 is dropped, and 0 is refused, by the general rule",
        "GRU 7": "output_sequence, likewise",
        "LSTM 7": "output_sequence, likewise",
        "RNN 7": "output_sequence, likewise",
        "Upsample 7": "height_scale, width_scale: refused by the general rule",
    }
    found = set()
    for op, version in changes(6, NEWEST):
        old, new = (schema_of(op, each, withdrawn=True) for each in (version - 1, version))
        assert old is not None and new is not None
        taken = old.attributes.keys() - new.attributes.keys()
        other = {
            name
            for name in old.attributes.keys() & new.attributes.keys()
            if str(old.attributes[name].default_value) != str(new.attributes[name].default_value)
        }
        if (taken or other) and (op, version) not in UP:
            found.add(f"{op} {version}")
    assert found == set(left)


def test_the_adapters_are_for_versions_that_exist() -> None:
    assert (UP.keys() | DOWN.keys()) <= set(changes(6, NEWEST))
