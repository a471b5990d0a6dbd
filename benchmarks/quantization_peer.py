"""onnxruntime's own static quantization, as its documentation tells to use it: what ours is compared with.

What it makes is kept in $ONNXOPT_CACHE/quantized (by default ~/.cache/onnxopt/quantized) under its version and the
hashes of model and data. That folder may be deleted.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from quantization_subjects import Subject, cache_folder

_PER_CHANNEL = 13
"""The first opset whose DequantizeLinear takes a scale for each channel."""


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    def __init__(self, batches: Iterator[dict[str, Any]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def quantized_by_peer(subject: Subject) -> Path:
    """The model that `quantize_static` makes of the subject's file: QDQ, MinMax, per channel, uint8 and int8."""
    told = hashlib.sha256(subject.find_model().read_bytes() + subject.find_calibration().read_bytes()).hexdigest()[:12]
    path = cache_folder() / "quantized" / f"onnxruntime-{onnxruntime.__version__}" / f"{subject.name}-{told}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / "made.onnx"
            logging.disable(logging.WARNING)
            try:
                quantize_static(
                    str(_prepare(subject.find_model(), Path(scratch))),
                    str(made),
                    _Reader(subject.calibration_batches()),
                    quant_format=QuantFormat.QDQ,
                    calibrate_method=CalibrationMethod.MinMax,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            finally:
                logging.disable(logging.NOTSET)
            made.replace(path)
    return path


def _prepare(model: Path, folder: Path) -> Path:
    """As its documentation advises: the opset that scales per channel need, then its own preparation.

    Where its symbolic shape inference fails, without that.
    """
    prepared = folder / "prepared.onnx"
    loaded = onnx.load(model)
    if max(entry.version for entry in loaded.opset_import if entry.domain in ("", "ai.onnx")) < _PER_CHANNEL:
        model = folder / "converted.onnx"
        onnx.save(onnx.version_converter.convert_version(loaded, _PER_CHANNEL), model)
    try:
        quant_pre_process(str(model), str(prepared))
    except ImportError as error:
        sys.exit(f"onnxruntime cannot prepare models: {error}; pip install 'onnxopt[bench]'")
    except Exception:  # noqa: BLE001  an assertion without a word, on a Concat of ppocr_cls
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    return prepared
