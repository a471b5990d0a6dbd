"""The float model, the one that onnxruntime quantized and ours, each as a file and as what it is worth on test data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from quantization_peer import quantized_by_peer
from quantization_subjects import Subject

import onnxopt
from onnxopt import ir
from onnxopt.data.metrics import snr
from onnxopt.errors import OnnxoptError
from onnxopt.quantization.legality import Violation, violations
from onnxopt.runtime.session import NotRunnable, Session

Array = npt.NDArray[Any]
FLOAT, PEER, OURS = "float", "onnxruntime", "onnxopt"
TARGETS = ("onnx", "qnn", "tensorrt", "coreml")


@dataclass(frozen=True)
class Worth:
    """What a model is worth, with onnxruntime's optimizations off (every Q/DQ computed as it stands) or on."""

    outputs: Array
    rows: Array
    """Sample by sample, in the unit of the subject."""

    @property
    def mean(self) -> float:
        """Over all samples."""
        return float(self.rows.mean())

    def lost(self, of: Worth) -> int:
        """How many samples are worth something in `of`, and nothing here."""
        return int(((of.rows > 0) & (self.rows == 0)).sum())

    def noise(self, of: Worth) -> float:
        """How far the outputs are from those of `of`: signal to noise in dB."""
        return snr(of.outputs, self.outputs)


@dataclass
class Variant:
    """One model made of a subject."""

    who: str
    subject: Subject
    path: Path
    error: str = ""
    """Why there is none, or why it does not run."""
    violations: list[Violation] = field(default_factory=list)
    """Of the rules of the target that it was made for."""
    warnings: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    @cached_property
    def plain(self) -> Worth:
        """With onnxruntime's optimizations off."""
        return self._worth(optimize=False)

    @cached_property
    def deployed(self) -> Worth:
        """With onnxruntime's optimizations on: in its integer kernels."""
        return self._worth(optimize=True)

    def run(self) -> None:
        """Measure both, or note why that cannot be."""
        try:
            _ = self.error or (self.plain, self.deployed)
        except NotRunnable as error:
            self.error = str(error)

    def _worth(self, *, optimize: bool) -> Worth:
        session = Session(self.path, optimize=optimize)
        name = session.outputs[0].name
        outputs = np.concatenate([np.asarray(session.run(feeds)[name]) for feeds in self.subject.test_batches()])
        return Worth(outputs, self.subject.rows(outputs))


@dataclass
class Measured:
    """All that was made of one subject."""

    subject: Subject
    original: Variant
    peer: Variant
    optimized: Variant
    """In float, by the part of our pipeline that does not quantize: what latency is measured by."""
    ours: dict[str, Variant]
    """By target."""

    @property
    def everyone(self) -> list[Variant]:
        """With the original first."""
        return [self.original, self.peer, self.optimized, *self.ours.values()]


def measured(subject: Subject, passes: str, lossless: str, targets: list[str], folder: Path) -> Measured:
    """Make all of them; ours into `folder`."""
    found = Measured(
        subject,
        Variant(FLOAT, subject, subject.find_model()),
        Variant(PEER, subject, quantized_by_peer(subject)),
        int8(subject, lossless, None, folder),
        {target: int8(subject, passes, target, folder) for target in targets},
    )
    for variant in found.everyone:
        variant.run()
    return found


def int8(subject: Subject, passes: str, target: str | None, folder: Path) -> Variant:
    """Ours, by a pipeline that ends in integers; in float, and without calibration data, where there is no target."""
    made = Variant(OURS, subject, folder / f"{subject.name}-{target or FLOAT}.onnx")
    data = subject.find_calibration() if target else None
    try:
        result = onnxopt.run(subject.find_model(), passes, data=data, target=target or "onnx", verify=False)
        result.save(made.path)
        made.warnings = [str(warning) for warning in result.context.warnings]
        if target:
            made.violations = violations(ir.load(made.path), target)
    except OnnxoptError as error:
        made.error = str(error).splitlines()[0]
    return made
