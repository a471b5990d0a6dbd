"""The models that are quantized: where they come from, what they are calibrated on, and how they are judged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import FIXTURES

sys.path.insert(0, str(FIXTURES))

from efficientnet_lite0 import efficientnet_lite0
from measure import psnr
from photos import photos
from real_models import RealModelUnavailable, cache_folder, real_model
from text_lines import text_lines

__all__ = ["RealModelUnavailable", "Subject", "cache_folder", "subjects"]
Array = npt.NDArray[Any]
MOST_SAMPLES = 256
"""To calibrate on."""
_BATCH = 20


@dataclass(frozen=True)
class Subject:
    """A model with a task. Files of others are downloaded, and data rendered, when they are asked for."""

    name: str
    find_model: Callable[[], Path]
    find_calibration: Callable[[], Path]
    """An .npz of inputs: at most `MOST_SAMPLES`."""
    find_test: Callable[[], Path]
    """An .npz of inputs, and what must come out."""
    input: str
    expected: str
    """The name in the test data of the labels, or of the images that must come out."""
    unit: str
    """`%` of rows whose largest output is at the label, or `dB`, the mean PSNR."""
    limit: float
    """How much of it may be lost."""
    keep_all: bool = False
    """Every sample that the float model gets right must stay right: they are too few for a share to tell anything."""

    @cached_property
    def _test(self) -> dict[str, Array]:
        with np.load(self.find_test()) as stored:
            return dict(stored)

    def calibration_batches(self) -> Iterator[dict[str, Array]]:
        """The samples to calibrate on, as feeds."""
        with np.load(self.find_calibration()) as stored:
            samples = stored[self.input]
        for start in range(0, len(samples), _BATCH):
            yield {self.input: samples[start : start + _BATCH]}

    def test_batches(self) -> Iterator[dict[str, Array]]:
        """The samples to test on, as feeds."""
        samples = self._test[self.input]
        for start in range(0, len(samples), _BATCH):
            yield {self.input: samples[start : start + _BATCH]}

    def one(self) -> dict[str, Array]:
        """Feeds of one sample, to measure time on."""
        return {self.input: self._test[self.input][:1]}

    def rows(self, outputs: Array) -> Array:
        """What each sample is worth: 100 or 0 in %, or its PSNR in dB."""
        expected = self._test[self.expected]
        if self.unit == "%":
            return np.asarray((outputs.argmax(axis=1) == expected) * 100.0)
        return np.asarray([psnr(found[None], wanted[None]) for found, wanted in zip(outputs, expected, strict=True)])


def subjects() -> list[Subject]:
    """All of them."""
    digits, beauty = FIXTURES / "digits_mobilenet", FIXTURES / "tinybeauty"
    return [
        Subject(
            "digits_mobilenet",
            lambda: digits / "digits_mobilenet.onnx",
            lambda: digits / "calibration.npz",
            lambda: digits / "test.npz",
            "input",
            "label",
            "%",
            0.2,
        ),
        Subject(
            "tinybeauty",
            lambda: beauty / "tinybeauty.onnx",
            lambda: beauty / "calibration.npz",
            lambda: beauty / "test.npz",
            "image",
            "filtered",
            "dB",
            0.15,
        ),
        Subject(
            "efficientnet_lite0",
            efficientnet_lite0,
            lambda: photos("calibration"),
            lambda: photos("test"),
            "image",
            "label",
            "%",
            0.2,
            keep_all=True,
        ),
        Subject(
            "ppocr_cls",
            lambda: real_model("ppocr_cls"),
            lambda: text_lines("calibration"),
            lambda: text_lines("test"),
            "x",
            "label",
            "%",
            0.2,
        ),
    ]
