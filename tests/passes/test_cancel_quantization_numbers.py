"""`cancel-quantization`: pairs go only where every integer comes back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.passes.checks import check_pass, ops, run_pass
from tests.passes.quantization_models import CANCEL, pair


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("scale", [1e-30, 3e-4, 0.1, 1 / 3, 1.0, 7.77, 1e30])
def test_every_integer_comes_back(kind: type, scale: float) -> None:
    info = np.iinfo(kind)
    every = np.arange(info.min, info.max + 1).astype(kind)
    for zero in (info.min, 0, 5, info.max):
        graph = pair(np.array(scale, np.float32), np.array(zero, kind))
        check_pass(CANCEL, graph, {"q": every})
        assert ops(graph) == ["Transpose"]


@pytest.mark.parametrize(
    ("scale", "zero", "reason"),
    [
        (np.array(0, np.float32), np.array(0, np.uint8), "not positive"),
        (np.array(-0.1, np.float32), np.array(0, np.uint8), "not positive"),
        (np.array(np.nan, np.float32), np.array(0, np.uint8), "not positive"),
        (np.array(np.inf, np.float32), np.array(0, np.uint8), "may lose bits"),
        (np.array(1e-40, np.float32), np.array(0, np.uint8), "may lose bits"),
        (np.array(1e37, np.float32), np.array(0, np.uint8), "may lose bits"),
        (np.array(0.1, np.float16), np.array(0, np.int16), "may lose bits"),
        (np.array(0.1, np.float32), np.array(0, ml_dtypes.float8_e4m3fn), "may lose bits"),
    ],
)
def test_refuses_scales_by_which_integers_may_not_come_back(scale: np.ndarray, zero: np.ndarray, reason: str) -> None:
    changed, ctx = run_pass(CANCEL, pair(scale, zero))
    assert not changed and reason in ctx.refusals[0].what


def test_half_precision_is_enough_for_eight_bits() -> None:
    graph = pair(np.array(0.1, np.float16), np.array(3, np.uint8))
    check_pass(CANCEL, graph, {"q": np.arange(256).astype(np.uint8)})
