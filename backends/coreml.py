"""The target `coreml`: Apple's Core ML."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.target import Target


@dataclass(frozen=True)
class Coreml(Target):
    """Core ML. Graphs are prepared for it; it cannot be written yet."""

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what MIL has one operation for."""
        return Dialect(
            (
                "Gelu",
                "Gemm",
                "GlobalAveragePool",
                "HardSigmoid",
                "HardSwish",
                "InstanceNormalization",
                "LayerNormalization",
                "LpNormalization",
                "Softmax",
                "Softplus",
                "Swish",
            ),
        )
