"""The target `tensorrt`: NVIDIA's TensorRT."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.backends.tensorrt import rules
from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pipeline.target import Target


@dataclass(frozen=True)
class Tensorrt(Target):
    """TensorRT. Graphs are prepared for it; it cannot be written yet."""

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what its parser maps to one layer."""
        return rules.DIALECT

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """Symmetric int8 upon the inputs of layers, not their outputs."""
        return rules.QUANTIZATION
