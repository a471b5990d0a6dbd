"""Tensors put together, taken apart, sliced, padded, repeated and turned, in Core ML's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, evaluated, model_of, operations, problems

RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((2, 3, 5, 6)).astype(np.float32)
END = np.iinfo(np.int64).max


def of(op: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms(
        "Concat", "Split", "Slice", "Pad", "Tile", "DepthToSpace", "SpaceToDepth", "ReverseSequence", "Trilu",
        "Compress", "CenterCropPad",
    )  # fmt: skip
    assert equal >= 70
    kinds = ("empty", "takes nothing", "it has to be constant", "bfloat16")
    assert all(any(kind in reason for kind in kinds) for reason in refused.values()), refused


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        (ints(1), ints(END), ints(2), ints(1)),
        (ints(-3), ints(-1), ints(-1), ints(1)),
        (ints(-1), ints(-END), ints(3), ints(-1)),
        (ints(4), ints(0), ints(2), ints(-2)),
        (ints(100), ints(-100), ints(2), ints(-3)),
        (ints(0, 5), ints(3, 0), ints(2, 3), ints(2, -2)),
        (ints(-100), ints(100), ints(3), ints(4)),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.int64, np.bool_])
def test_slices_of_any_form(starts: Any, ends: Any, axes: Any, steps: Any, kind: Any) -> None:
    x = (X * 10).astype(kind)
    node = of("Slice", "s", "e", "a", "t")
    assert_agrees(model_of([node], {"x": x}, {"y": kind}, s=starts, e=ends, a=axes, t=steps), {"x": x})


def test_a_slice_of_a_flexible_axis_keeps_what_it_means() -> None:
    node = of("Slice", "s", "e", "a", "t")
    for start, end, step in ((-2, END, 1), (1, END, 2), (-1, -END, -1), (0, -1, 1), (-2, -END, -2)):
        shape = {"x": [2, 3, 5, "n"]}
        model = model_of(
            [node], {"x": X}, {"y": np.float32}, flexible=shape, s=ints(start), e=ints(end), a=ints(3), t=ints(step)
        )
        assert_agrees(model, {"x": X})


def test_ends_that_are_computed_are_clamped() -> None:
    node = helper.make_node("Slice", ["x", "s", "e", "a"], ["y"])
    for end in (2, 9, -1, -9 + 5):
        feeds = {"x": X, "e": ints(end)}
        assert_agrees(model_of([node], feeds, {"y": np.float32}, s=ints(0), a=ints(2)), feeds)


def test_what_is_empty_is_left_out_or_refused() -> None:
    cut = of("Slice", "s", "e")
    model = model_of([cut], {"x": X}, {"y": np.float32}, s=ints(2, 1), e=ints(2, 3))
    assert "'y' is empty, of shape [0, 2, 5, 6]" in problems(model)[0]
    parts = helper.make_node("Split", ["x", "sizes"], ["a", "b", "c"], axis=1)
    joined = helper.make_node("Concat", ["b", "a", "c"], ["y"], axis=1)
    model = model_of([parts, joined], {"x": X}, {"y": np.float32}, sizes=ints(2, 0, 1))
    assert_agrees(model, {"x": X})
    assert "concat" not in operations(model_of([parts, joined], {"x": X}, {"y": np.float32}, sizes=ints(0, 3, 0)))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 0, 0, 3, 1), (1, 0, 0, 0, 0, 2, 0, 0), (0, 0, 0, 5, 0, 0, 4, 0)])
@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pads_of_any_axes_and_types(mode: str, pads: Any, kind: Any) -> None:
    x = (X * 10).astype(kind)
    if mode == "reflect" and pads[0]:
        x = np.concatenate([x, x])
    model = model_of([of("Pad", "p", mode=mode)], {"x": x}, {"y": kind}, p=ints(*pads))
    assert_agrees(model, {"x": x})


def test_pads_wrap_cut_and_name_their_axes() -> None:
    wrapped = model_of(
        [of("Pad", "p", "", "a", mode="wrap")], {"x": X}, {"y": np.float32}, 19, p=ints(2, 1), a=ints(-1)
    )
    assert_agrees(wrapped, {"x": X})
    cut = model_of(
        [of("Pad", "p", "c")], {"x": X}, {"y": np.float32}, p=ints(0, 0, -1, 2, 0, 0, -2, -3), c=np.float32([7])
    )
    assert_agrees(cut, {"x": X})
    assert operations(cut) == ["slice_by_index", "pad"]


def test_depth_and_space_in_both_orders() -> None:
    deep = RANDOM.standard_normal((2, 12, 4, 6)).astype(np.float32)
    for kind in (np.float32, np.int32):
        for mode in ("DCR", "CRD"):
            x = (deep * 10).astype(kind)
            # onnxruntime has it for floats alone
            expected = _depth_to_space(x, mode)
            model = model_of([of("DepthToSpace", blocksize=2, mode=mode)], {"x": x}, {"y": kind})
            np.testing.assert_array_equal(evaluated(model, {"x": x})[0], expected)
    assert_agrees(model_of([of("SpaceToDepth", blocksize=2)], {"x": deep}, {"y": np.float32}), {"x": deep})


def _depth_to_space(x: Any, mode: str) -> Any:
    """Operator DepthToSpace, "Summary"."""
    n, c, h, w = x.shape
    split, perm = (
        ([n, 2, 2, c // 4, h, w], [0, 3, 4, 1, 5, 2])
        if mode == "DCR"
        else ([n, c // 4, 2, 2, h, w], [0, 1, 4, 2, 5, 3])
    )
    return x.reshape(split).transpose(perm).reshape(n, c // 4, h * 2, w * 2)


def test_infinities_beside_a_triangle_stay_out_of_it() -> None:
    x = np.full((3, 4), -np.inf, np.float32)
    for upper in (0, 1):
        for k in (-1, 0, 2):
            model = model_of([of("Trilu", "k", upper=upper)], {"x": x}, {"y": np.float32}, k=np.array(k))
            assert_agrees(model, {"x": x})


def test_splits_of_every_opset() -> None:
    x = X[0]
    names = ["y", "z"]
    equal = helper.make_node("Split", ["x"], names, axis=2)
    uneven = helper.make_node("Split", ["x", "s"], names, axis=-2)
    by_count = helper.make_node("Split", ["x"], names, axis=1, num_outputs=2)
    given = {"x": x}
    outputs = dict.fromkeys(names, np.float32)
    assert_agrees(model_of([equal], given, outputs, 11), given)
    assert_agrees(model_of([helper.make_node("Split", ["x"], names, axis=1, split=[1, 4])], given, outputs, 11), given)
    assert_agrees(model_of([uneven], given, outputs, 13, s=ints(4, 1)), given)
    assert_agrees(model_of([by_count], given, outputs, 18), given)
