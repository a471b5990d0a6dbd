"""The target `coreml`: Apple's Core ML."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.pipeline.dialect import ACCELERATED, Dialect
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pipeline.target import Target


@dataclass(frozen=True)
class Coreml(Target):
    """Core ML. Graphs are prepared for it; it cannot be written yet."""

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what MIL has one operation for."""
        return Dialect((*ACCELERATED, "Swish"))

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """W8A8: symmetric int8 upon the inputs of convolutions and products; biases stay in float."""
        return QuantizationRules(
            activations=("int8",),
            weights=("int8",),
            layers=("Conv", "ConvTranspose", "Gemm", "MatMul"),
            symmetric=True,
            per_channel=("Conv", "ConvTranspose", "Gemm", "MatMul"),
            bias="float",
            shared=(
                "Concat",
                "Flatten",
                "Identity",
                "MaxPool",
                "Reshape",
                "Slice",
                "Squeeze",
                "Transpose",
                "Unsqueeze",
            ),
            fused=("Clip", "Relu"),
        )
