"""The target `tensorrt`: NVIDIA's TensorRT."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.pipeline.dialect import ACCELERATED, Dialect
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pipeline.target import Target

_SHARED = (
    "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators over which the builder moves Q/DQ."""


@dataclass(frozen=True)
class Tensorrt(Target):
    """TensorRT. Graphs are prepared for it; it cannot be written yet."""

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what its parser maps to one layer; attention cores stay as they are, its builder fuses them."""
        return Dialect((*ACCELERATED, "GroupNormalization", "Mish"), ("attention", "matmul-add"))

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """Symmetric int8 upon the inputs of layers, not their outputs; what the builder fuses stays whole.

        Anything else is refused, silently wrong or silently runs in float. Products of a row, first layers of few
        channels, normalizations and attention cores are better left in float.
        """
        return QuantizationRules(
            activations=("int8",),
            weights=("int8",),
            layers=("Conv", "ConvTranspose", "Gemm", "MatMul"),
            symmetric=True,
            per_channel=("Conv", "ConvTranspose", "Gemm", "MatMul"),
            bias="float",
            shared=_SHARED,
            fused=("Clip", "Relu"),
            residual=("Conv", "ConvTranspose"),
            products=False,
            vectors=False,
            first_channels=5,
        )
