"""Narrow integers in int32."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import ops
from tests.rules.spelling_out.spelled import check, kept, model

BYTES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min", "Div"])
def test_bytes_wrap_around(op: str) -> None:
    feeds = {"x": np.repeat(BYTES, 255).reshape(256, 255), "z": np.broadcast_to(BYTES[1:], (256, 255)).copy()}
    graph = model("(uint8[256,255] x, uint8[256,255] z) => (uint8[256,255] y)", f"y = {op} (x, z)")
    check(graph, feeds)
    assert ops(graph)[:2] == ["Cast", "Cast"]


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_comparisons(op: str, dtype: str) -> None:
    check(model(f"({dtype}[4] x, {dtype}[4] z) => (bool[4] y)", f"y = {op} (x, z)"))


@pytest.mark.parametrize("dtype", ["float", "int32", "int64", "int8"])
def test_other_types_stay(dtype: str) -> None:
    kept(model(f"({dtype}[4] x, {dtype}[4] z) => ({dtype}[4] y)", "y = Add (x, z)"))


def test_the_exponent_is_of_the_type_of_the_base() -> None:
    x = np.array([1.5, -2, 3], np.float32)
    graph = model("(float[3] x, int64[3] n) => (float[3] y)", "y = Pow (x, n)")
    check(graph, {"x": x, "n": np.array([2, 3, 0])})
    check(model("(float[3] x) => (float[3] y)", "y = Pow (x, n)", "int64 n = {3}"), {"x": x})


def test_complement() -> None:
    x = np.array([0, -1, 2**31 - 1, -(2**31)], np.int32)
    check(model("(int32[4] x) => (int32[4] y)", "y = BitwiseNot (x)"), {"x": x}, gone="BitwiseNot")
