"""Symmetric activations: Qualcomm's libraries compile them without a word, and what they compute is wrong."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from qnn_commands import Commands, said
from quantization_subjects import Subject, subjects
from reporting import Report

_CALIBRATED = 32
"""Samples for `quantize_static`."""


def hazard(commands: Commands, folder: Path) -> Report:
    """Digits by onnxruntime's quantizer, with symmetric and with asymmetric activations, through our emit."""
    report = Report(3, "what another quantizer makes with symmetric activations compiles, is wrong, and is refused")
    report.rows = [("activations", "exit status", "written", "emulator beside onnxruntime")]
    (digits,) = [each for each in subjects() if each.name == "digits_mobilenet"]
    model = folder / "digits.onnx"
    commands.run("run", digits.find_model(), "--passes", "freeze-shapes{batch=1},O3", "--target", "qnn", "-o", model)
    for name, symmetric in (("int8, symmetric", True), ("uint8, asymmetric", False)):
        quantized, dlc = folder / f"digits-{symmetric}.onnx", folder / f"digits-{symmetric}.dlc"
        quantize_static(
            model,
            quantized,
            _Reader(digits),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": symmetric},
        )
        given = ("run", quantized, "--passes", "infer-types", "--data", digits.find_calibration())
        ran = commands.run(*given, "--emit", f"qnn{{soc=SM8450}}={dlc}")
        told = said(ran) if ran.returncode else ran.stderr.strip().splitlines()[-1]
        report.rows.append((name, str(ran.returncode), "yes" if dlc.exists() else "no", _figure(told)))
        report.require(f"{name}: {told}", (ran.returncode, dlc.exists()) == ((1, False) if symmetric else (0, True)))
    report.headline = f"symmetric {report.rows[1][3]}, exit status 1, no file; asymmetric {report.rows[2][3]}, written"
    return report


def _figure(told: str) -> str:
    """The part of a line that has the SNR."""
    pairs = itertools.pairwise(told.split())
    return next((f"{value} dB" for value, unit in pairs if unit.startswith("dB")), told)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, subject: Subject) -> None:
        samples = (
            {name: value[index : index + 1] for name, value in batch.items()}
            for batch in subject.calibration_batches()
            for index in range(len(next(iter(batch.values()))))
        )
        self._samples = itertools.islice(samples, _CALIBRATED)

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The next sample."""
        return next(self._samples, None)
