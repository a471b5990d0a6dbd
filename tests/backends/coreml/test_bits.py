"""Operators upon bits, in a language that has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import conforms, evaluated, model_of, problems

RANDOM = np.random.default_rng(2)
KINDS = [np.int8, np.uint8, np.int16, np.uint16, np.int32]


def numbers(kind: Any, count: int = 60) -> Any:
    limits = np.iinfo(kind)
    drawn = RANDOM.integers(limits.min, limits.max, count, np.int64, endpoint=True)
    return np.append(drawn, [limits.min, limits.max, 0, 1]).astype(kind)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")
    assert equal >= 30
    assert all("overflows in uint" in reason or "uint64" in reason for reason in refused.values()), refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_within_the_bits_and_beyond(kind: Any, direction: str) -> None:
    """Operator BitShift: what is shifted out is gone; on the right, the sign fills up."""
    x = numbers(kind)
    bits = 8 * x.itemsize
    amounts = np.arange(x.size) % (bits + 3) - (0 if np.dtype(kind).kind == "u" else 1)
    wide = x.astype(object)
    beyond = [amount < 0 or amount >= bits for amount in amounts]
    if direction == "RIGHT":
        wanted = [int(v) >> (bits if out else int(a)) for v, a, out in zip(wide, amounts, beyond, strict=True)]
    else:
        moved = [0 if out else int(v) << int(a) for v, a, out in zip(wide, amounts, beyond, strict=True)]
        wanted = np.array([each % (1 << bits) for each in moved], np.uint64).astype(kind)
    node = helper.make_node("BitShift", ["x", "n"], ["y"], direction=direction)
    feeds = {"x": x, "n": amounts.astype(kind)}
    (found,) = evaluated(model_of([node], feeds, {"y": kind}, 28), feeds)
    np.testing.assert_array_equal(found, np.asarray(wanted, np.int64))


@pytest.mark.parametrize("op", ["and", "or", "xor"])
@pytest.mark.parametrize("kind", KINDS)
def test_logic_bit_by_bit(op: str, kind: Any) -> None:
    feeds = {"x": numbers(kind), "z": numbers(kind)}
    node = helper.make_node(f"Bitwise{op.title()}", ["x", "z"], ["y"])
    (found,) = evaluated(model_of([node], feeds, {"y": kind}, 18), feeds)
    np.testing.assert_array_equal(found, getattr(np, f"bitwise_{op}")(*feeds.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_turned(kind: Any) -> None:
    feeds = {"x": numbers(kind)}
    model = model_of([helper.make_node("BitwiseNot", ["x"], ["y"])], feeds, {"y": kind}, 18)
    np.testing.assert_array_equal(evaluated(model, feeds)[0], ~feeds["x"])


def test_bits_that_core_ml_has_not_are_refused() -> None:
    feeds = {"x": np.array([1], np.uint32), "n": np.array([1], np.uint32)}
    node = helper.make_node("BitShift", ["x", "n"], ["y"], direction="LEFT")
    (reason,) = problems(model_of([node], feeds, {"y": np.uint32}, 11))
    assert "attribute direction='LEFT' overflows in uint32" in reason
