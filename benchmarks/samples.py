"""Generated inputs for the real models, of the kind that each is for, as `--data samples:NAME` takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import FIXTURES

Array = npt.NDArray[Any]
Sample = dict[str, Array]

_HARMONICS = np.arange(1, 20)


def speech() -> Iterator[Sample]:
    """Chunks for silero-vad at both rates that it branches on, quiet and voiced, with a state as it is mid-stream."""
    for rate, length in ((16000, 576), (8000, 288)):
        yield from _chunks(rate, length)


def speech_16k() -> Iterator[Sample]:
    """The same at 16 kHz only."""
    return _chunks(16000, 576)


def music() -> Iterator[Sample]:
    """Two seconds of chords at 22,050 Hz, the window of basic-pitch."""
    time = np.arange(43844) / 22050
    for root in (110.0, 261.6):
        chord = sum(_voice(root * step, time) for step in (1, 5 / 4, 3 / 2))
        yield {"serving_default_input_2:0": np.asarray(chord / 3, np.float32)[:, None]}


def text_lines() -> Iterator[Sample]:
    """Images of 48x192 with dark strokes on white, in [-1, 1] as the classifier of text directions takes them."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        image = np.ones((3, 48, 192), np.float32)
        for left in range(8, 180, 12):
            top, height = rng.integers(6, 20), rng.integers(8, 22)
            image[:, top : top + height, left : left + rng.integers(2, 9)] = rng.uniform(-1, 0)
        yield {"x": image}


def both_branches() -> Iterator[Sample]:
    """For torch_functions: its If goes by the sign of the mean."""
    with np.load(FIXTURES / "torch_functions" / "inputs.npz") as inputs:
        for features in inputs["features"]:
            yield {"features": features}
            yield {"features": -features}


def _chunks(rate: int, length: int) -> Iterator[Sample]:
    rng = np.random.default_rng(rate)
    time = np.arange(length) / rate
    for pitch in (0.0, 110.0, 220.0):
        sound = _voice(pitch, time) if pitch else 0.0
        yield {
            "input": np.asarray(sound + rng.normal(0, 0.01, length), np.float32)[None],
            "state": rng.normal(0, 0.3, (2, 1, 128)).astype(np.float32),
            "sr": np.asarray(rate, np.int64),
        }


def _voice(pitch: float, time: Array) -> Array:
    """A buzz with the falling spectrum of a voice, of amplitude 0.5."""
    parts = np.sin(2 * np.pi * pitch * _HARMONICS[:, None] * time) / _HARMONICS[:, None]
    return np.asarray(0.5 * parts.sum(axis=0) / np.abs(parts.sum(axis=0)).max())
