"""A session for a model that another engine will run: it computes what is written, and fast."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
from onnx import ModelProto

from onnxopt.data.spec import inputs_of, outputs_of
from onnxopt.runtime.executable import header_of
from onnxopt.runtime.session import NotRunnable, Session

_SILENT = 4
_UNWANTED = ["WeightBiasQuantization"]
"""onnxruntime makes int8 of the float weights, and int32 of the float bias, of a Conv or Gemm that stands between a
DequantizeLinear and a QuantizeLinear. Other engines do not: TensorRT wants its biases in float."""


class SimulatedSession(Session):
    """As `Session` with onnxruntime's optimizations, but for those that change what is quantized.

    Raises:
        NotRunnable: onnxruntime refuses the model.
    """

    def __init__(self, model: ModelProto | Path) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = _SILENT
        options.use_deterministic_compute = True
        header = header_of(model)
        self.inputs, self.outputs = tuple(inputs_of(header)), tuple(outputs_of(header))
        try:
            source = str(model) if isinstance(model, Path) else model.SerializeToString()
            self._session = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"], disabled_optimizers=_UNWANTED
            )
        except Exception as error:  # its classes have no common base
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NotRunnable(f"onnxruntime cannot load the model: {reason}") from error
