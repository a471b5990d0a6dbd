"""Fourier transforms by matrices, beside onnxruntime's and numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, evaluated, model_of, problems

RANDOM = np.random.default_rng(3)
COMPLEX = RANDOM.standard_normal((2, 7, 3, 2)).astype(np.float32)


def number(value: int) -> Any:
    return np.array(value, np.int64)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("DFT", "STFT")
    assert equal >= 9
    # the tests make one input constant at a time; those of two parameters are in the benchmark
    assert all("has to be constant" in reason for reason in refused.values()), refused


@pytest.mark.parametrize("length", [5, 7, 10])
@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("inverse", [0, 1])
def test_cut_whole_and_filled_up(length: int, axis: int, inverse: int) -> None:
    node = helper.make_node("DFT", ["x", "n", "a"], ["y"], inverse=inverse)
    model = model_of([node], {"x": COMPLEX}, {"y": np.float32}, 20, n=number(length), a=number(axis))
    numbers = COMPLEX[..., 0] + 1j * COMPLEX[..., 1]
    where = axis if axis > 0 else axis + 1
    found = (np.fft.ifft if inverse else np.fft.fft)(numbers, length, where)
    (given,) = evaluated(model, {"x": COMPLEX})
    np.testing.assert_allclose(given, np.stack([found.real, found.imag], -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [12, 13])
def test_one_half_there_and_back(length: int) -> None:
    x = RANDOM.standard_normal((2, length, 1)).astype(np.float32)
    there = helper.make_node("DFT", ["x", "n", "a"], ["h"], onesided=1)
    back = helper.make_node("DFT", ["h", "n", "a"], ["y"], onesided=1, inverse=1)
    parameters = {"n": number(length), "a": number(1)}
    (half,) = evaluated(model_of([there], {"x": x}, {"h": np.float32}, 20, **parameters), {"x": x})
    wanted = np.fft.rfft(x[..., 0])
    np.testing.assert_allclose(half, np.stack([wanted.real, wanted.imag], -1), rtol=1e-4, atol=1e-5)
    (same,) = evaluated(model_of([there, back], {"x": x}, {"y": np.float32}, 20, **parameters), {"x": x})
    np.testing.assert_allclose(same, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("onesided", [0, 1])
def test_frames_of_a_signal(onesided: int) -> None:
    x = RANDOM.standard_normal((2, 40, 1)).astype(np.float32)
    window = np.hanning(16).astype(np.float32)
    node = helper.make_node("STFT", ["x", "s", "w", "n"], ["y"], onesided=onesided)
    model = model_of([node], {"x": x}, {"y": np.float32}, 17, s=number(5), w=window, n=number(16))
    assert_agrees(model, {"x": x})


def test_what_is_computed_or_too_long_is_refused() -> None:
    feeds = {"x": COMPLEX, "n": number(4)}
    computed = model_of([helper.make_node("DFT", ["x", "n"], ["y"])], feeds, {"y": np.float32}, 20)
    assert "its dft_length 'n' is computed by the model" in problems(computed)[0]
    node = helper.make_node("DFT", ["x", "n"], ["y"])
    long = model_of([node], {"x": COMPLEX}, {"y": np.float32}, 20, n=number(5000))
    assert "its length is 5000; up to 4096" in problems(long)[0]
