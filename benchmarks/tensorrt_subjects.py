"""The models that engines are built of: their data, the shapes they are built for, and what they are worth."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from measuring import FIXTURES
from quantization_subjects import Subject, subjects
from zoo import Model, zoo

from onnxopt.data.metrics import snr
from onnxopt.runtime.session import Session

sys.path.insert(0, str(FIXTURES))

from photos import photos

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
_TOKENS = {"sequence": 64}
_TEXTS = {"calibration": 64, "test": 32}
_BATCH = 20


@dataclass(frozen=True)
class Engine:
    """A model that engines are built of."""

    name: str
    find_model: Callable[[Path], Path]
    """Its file, made in that folder where it has to be."""
    shapes: str
    """The option of the backend: 1 to 8 samples."""
    is_cnn: bool
    calibration: Callable[[], Mapping[str, Array]]
    test: Callable[[], Feeds]
    """Inputs alone, none of which is calibrated on."""
    subject: Subject | None = None
    """What it is worth; None for random weights, whose outputs are worth how near they are to the float model's."""

    @property
    def unit(self) -> str:
        """Of what it is worth."""
        return self.subject.unit if self.subject else "dB to float"

    def outputs(self, model: Path) -> Array:
        """The first output of all test data, in onnxruntime with its optimizations off."""
        session = Session(model)
        name = session.outputs[0].name
        return np.concatenate([np.asarray(session.run(feeds)[name]) for feeds in self._batches()])

    def worth(self, outputs: Array, reference: Array) -> float:
        """In % or dB of the task, or the SNR in dB; infinite for the float model of random weights itself."""
        if self.subject is not None:
            return float(self.subject.rows(outputs).mean())
        return math.inf if outputs is reference else snr(reference, outputs)

    def _batches(self) -> Iterator[Feeds]:
        data = self.test()
        for start in range(0, len(next(iter(data.values()))), _BATCH):
            yield {name: values[start : start + _BATCH] for name, values in data.items()}


def engines() -> list[Engine]:
    """All of them."""
    shapes = {
        "digits_mobilenet": "input:1x1x28x28..8x1x28x28",
        "tinybeauty": "image:1x3x256x256..8x3x256x256",
        "efficientnet_lite0": "image:1x3x224x224..8x3x224x224",
        "ppocr_cls": "x:1x3x48x192..8x3x48x192",
    }
    return [*(_of_subject(each, shapes[each.name]) for each in subjects()), _vit(), _bert()]


def _of_subject(subject: Subject, shapes: str) -> Engine:
    def calibration() -> Mapping[str, Array]:
        return _loaded(subject.find_calibration())

    def test() -> Feeds:
        return {subject.input: _loaded(subject.find_test())[subject.input]}

    def find(folder: Path) -> Path:
        return _with_named_sizes(subject, folder) if subject.name == "ppocr_cls" else subject.find_model()

    return Engine(subject.name, find, shapes, True, calibration, test, subject)


def _with_named_sizes(subject: Subject, folder: Path) -> Path:
    """ppocr_cls has -1 for its batch and one symbol for its height and width: a name, and the sizes of its data."""
    model = onnx.load(subject.find_model())
    (value,) = [each for each in model.graph.input if each.name == subject.input]
    sizes = subject.one()[subject.input].shape
    for dim, size in zip(value.type.tensor_type.shape.dim, ["batch", *sizes[1:]], strict=True):
        dim.Clear()
        setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)
    del model.graph.value_info[:]  # they have the symbols too
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
    path = folder / f"{subject.name}.onnx"
    onnx.save(model, path)
    return path


def _vit() -> Engine:
    model = _exported("vit_tiny-ts")

    def of(kind: str, count: int) -> Feeds:
        return {"x": _loaded(photos(kind))["image"][:count]}

    shapes = "x:1x3x224x224..8x3x224x224"
    return Engine(
        "vit_tiny", lambda _: model.find(), shapes, False, lambda: of("calibration", 32), lambda: of("test", 20)
    )


def _bert() -> Engine:
    model = _exported("bert-ts")

    def of(kind: str) -> Feeds:
        return model.feeds({"batch": _TEXTS[kind], **_TOKENS}, seed=len(kind))

    shapes = ",".join(f"{name}:1x16..8x64" for name in ("input_ids", "attention_mask"))
    return Engine("bert", lambda _: model.find(), shapes, False, lambda: of("calibration"), lambda: of("test"))


def _exported(name: str) -> Model:
    return next(model for model in zoo() if model.name == name)


@cache
def _loaded(path: Path) -> Feeds:
    with np.load(path) as stored:
        return dict(stored)
