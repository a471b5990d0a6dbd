"""Bits by arithmetic: against onnx's reference evaluator, since onnxruntime shifts unsigned integers alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import check_refusal
from tests.rules.tensorrt.legalized import PASS, check, check_by_reference, model

SHIFTS = np.array([0, 1, 3, 6, 7, 8, 9, 30, 31, 32, 63, 64, -1, -7])


def _numbers(dtype: str, count: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    edges = np.array([limits.min, limits.max, 0, 1, limits.max // 2 + 1, limits.min + 1], dtype)
    return np.resize(np.append(edges, np.random.default_rng(0).integers(limits.min, limits.max, 8, dtype)), count)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_by_every_number(dtype: str, direction: str) -> None:
    x = _numbers(dtype, 14)[:, None]
    shifts = SHIFTS[SHIFTS >= 0] if dtype == "uint8" else SHIFTS
    y = shifts.astype(dtype)[None]
    body = f'z = BitShift <direction = "{direction}"> (x, y)'
    graph = model(f"({dtype}[14,1] x, {dtype}[1,{y.size}] y) => ({dtype}[14,{y.size}] z)", body, opset=28)
    check_by_reference(graph, {"x": x, "y": y}, gone="BitShift")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bits_of_two_numbers(dtype: str, op: str) -> None:
    x = _numbers(dtype, 14)
    graph = model(f"({dtype}[14,1] x, {dtype}[14] y) => ({dtype}[14,14] z)", f"z = {op} (x, y)")
    check(graph, {"x": x[:, None], "y": x}, gone=op)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_bits_turned_over(dtype: str) -> None:
    graph = model(f"({dtype}[14] x) => ({dtype}[14] y)", "y = BitwiseNot (x)")
    check(graph, {"x": _numbers(dtype, 14)}, gone="BitwiseNot")


def test_types_without_a_place_are_refused() -> None:
    graph = model("(uint16[2] x) => (uint16[2] y)", "y = BitwiseNot (x)")
    check_refusal(PASS, graph, "'x' is uint16, and this is for int8, uint8, int32 and int64")
