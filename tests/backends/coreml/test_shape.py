"""Shapes, constants and element types in Core ML's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, model_of, operations, problems

X = np.random.default_rng(5).standard_normal((2, 3, 4)).astype(np.float32)
GIVEN = {"x": X}
OUT = {"y": np.float32}
FLEXIBLE: dict[str, list[Any]] = {"x": ["n", 3, "m"]}


def of(op: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def test_what_the_operators_of_shapes_are_specified_to_give() -> None:
    equal, refused = conforms(
        "Shape", "Size", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Constant",
        "ConstantOfShape", "Identity", "Dropout", "EyeLike", "Range",
    )  # fmt: skip
    assert equal >= 60
    kinds = ("empty", "of rank 6", "it has to be constant", "bfloat16", "float64", "computed of data", "training_mode")
    assert all(any(kind in reason for kind in kinds) for reason in refused.values()), refused


def test_what_casts_are_specified_to_give() -> None:
    equal, refused = conforms("Cast", "CastLike")
    assert equal >= 4
    kinds = ("float64", "bfloat16", "float8", "float4", "int4", "int2", "empty", "object")
    assert all(any(kind in reason for kind in kinds) for reason in refused.values()), refused


@pytest.mark.parametrize("to", [TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16])
def test_casts_of_floats_truncate(to: int) -> None:
    x = np.array([-2.7, -0.5, 0.0, 0.5, 1.5, 200.9], np.float32)
    kind = helper.tensor_dtype_to_np_dtype(to)
    assert_agrees(model_of([of("Cast", to=to)], {"x": x}, {"y": kind}), {"x": x})


@pytest.mark.parametrize("to", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16])
def test_integers_wrap_into_narrower_ones(to: int) -> None:
    x = np.array([-70000, -129, -1, 0, 127, 128, 255, 256, 70000], np.int32)
    kind = helper.tensor_dtype_to_np_dtype(to)
    assert_agrees(model_of([of("Cast", to=to)], {"x": x}, {"y": kind}), {"x": x})


def test_shapes_that_are_known_leave_no_operations() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "zeros"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.array(0, np.int64), "zeros": ints(0), "rest": ints(-1)}
    fixed = model_of(nodes, GIVEN, OUT, **constants)
    assert operations(fixed) == ["reshape"]
    assert_agrees(fixed, GIVEN)
    flexible = model_of(nodes, GIVEN, OUT, flexible=FLEXIBLE, **constants)
    assert_agrees(flexible, GIVEN)


@pytest.mark.parametrize("shape", [(0, -1), (0, 0, -1), (-1, 3), (0, 3, 2, -1), (6, 4), (0, -1, 0)])
def test_reshapes(shape: tuple[int, ...]) -> None:
    for flexible in (None, FLEXIBLE):
        if flexible and shape.count(0) > 2:
            continue
        assert_agrees(model_of([of("Reshape", "s")], GIVEN, OUT, flexible=flexible, s=ints(*shape)), GIVEN)


def test_a_reshape_to_what_is_fed_is_refused() -> None:
    feeds = {"x": X, "s": ints(-1, 4)}
    assert "its shape 's' is computed of data" in problems(model_of([of("Reshape", "s")], feeds, OUT))[0]


@pytest.mark.parametrize("flexible", [None, FLEXIBLE])
def test_flexible_dimensions(flexible: Any) -> None:
    for axis in range(-3, 4):
        assert_agrees(model_of([of("Flatten", axis=axis)], GIVEN, OUT, flexible=flexible), GIVEN)
    for start, end in ((0, 3), (1, 2), (-1, 3), (0, -1)):
        model = model_of([of("Shape", start=start, end=end)], GIVEN, {"y": np.int64}, flexible=flexible)
        assert_agrees(model, GIVEN)
    assert_agrees(model_of([of("Size")], GIVEN, {"y": np.int64}, flexible=flexible), GIVEN)
    row = {"x": X[:1]}
    for wanted in (ints(5, 3, 4), ints(2, 1, 1, 1), ints(3, 1)):
        assert_agrees(model_of([of("Expand", "s")], row, OUT, flexible=flexible, s=wanted), row)
    assert_agrees(model_of([of("Squeeze", "a")], row, OUT, flexible=flexible, a=ints(0)), row)


def test_expanding_keeps_infinities_and_truth_values() -> None:
    x = np.array([[np.inf], [-np.inf]], np.float32)
    for value, kind in ((x, np.float32), (x > 0, np.bool_), (x > 0, np.int64)):
        given = {"x": value.astype(kind)}
        for flexible in (None, {"x": ["n", 1]}):
            assert_agrees(model_of([of("Expand", "s")], given, {"y": kind}, flexible=flexible, s=ints(2, 3)), given)


def test_random_numbers_and_strings_are_refused() -> None:
    assert "it draws random numbers" in problems(model_of([of("RandomUniformLike")], GIVEN, OUT))[0]
    text = helper.make_node("Constant", [], ["y"], value_string=b"a")
    assert "attribute value_string" in problems(model_of([text], GIVEN, {"y": np.dtype(object)}))[0]


def test_training_dropout_is_refused() -> None:
    model = model_of([of("Dropout", "r", "t")], GIVEN, OUT, r=np.float32(0.5), t=np.array(True))
    assert "input training_mode=True" in problems(model)[0]
