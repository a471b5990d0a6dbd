"""How near outputs are."""

import math

import numpy as np
import pytest

from onnxopt.runtime.agreement import compared


def agreement(expected, actual):
    return compared([({"y": np.asarray(expected)}, {"y": np.asarray(actual)})])["y"]


def test_snr_and_psnr_in_decibel():
    found = agreement(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    assert found.snr == pytest.approx(20.0)
    assert found.psnr == pytest.approx(10 * math.log10(16 / 0.125))


def test_samples_count_together():
    near, far = np.float32([1.0, 1.0]), np.float32([1.0, 0.0])
    pairs = [({"y": near}, {"y": near}), ({"y": near}, {"y": far})]
    assert compared(pairs)["y"].snr == pytest.approx(10 * math.log10(4))


def test_integers_are_right_or_wrong():
    assert agreement(np.arange(10), np.array([*range(9), 1000])).snr == pytest.approx(10.0)
    assert agreement(np.array([True, False]), np.array([False, True])).snr == pytest.approx(0.0)


def test_around_zero_the_error_is_absolute():
    zeros = np.zeros(4, np.float32)
    assert agreement(zeros, zeros).snr == math.inf
    assert agreement(zeros, zeros + np.float32(1e-5)).snr == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (np.float32([1.0, np.nan]), "holds NaN or infinity"),
        (np.float32([1.0, np.inf]), "holds NaN or infinity"),
        (np.float32([[1.0, 2.0]]), r"is float32\[1, 2\], expected float32\[2\]"),
    ],
)
def test_what_cannot_be_compared_is_broken(actual, reason):
    import re

    found = agreement(np.float32([1.0, 2.0]), actual)
    assert re.search(reason, found.broken) and found.snr == -math.inf


def test_infinity_where_it_is_expected_is_none_of_it():
    assert agreement(np.float32([1.0, np.inf]), np.float32([1.0, 65504.0])).snr == math.inf


def test_an_output_that_is_not_there():
    assert "missing" in compared([({"y": np.zeros(1)}, {})])["y"].broken
