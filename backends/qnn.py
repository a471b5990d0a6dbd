"""The target `qnn`: Qualcomm's Hexagon tensor processor."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.target import Target


@dataclass(frozen=True)
class Qnn(Target):
    """Qualcomm HTP. Graphs are prepared for it; it cannot be written yet."""

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what HTP has an operator for: Gelu too, since it refuses Erf outside of one."""
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
                "RMSNormalization",
                "Softmax",
                "Softplus",
            ),
        )
