"""The target `tensorrt`: NVIDIA's TensorRT."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.target import Target


@dataclass(frozen=True)
class Tensorrt(Target):
    """TensorRT. Graphs are prepared for it; it cannot be written yet."""

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what its parser maps to one layer; attention cores stay as they are, its builder fuses them."""
        return Dialect(
            (
                "Gelu",
                "Gemm",
                "GlobalAveragePool",
                "GroupNormalization",
                "HardSigmoid",
                "HardSwish",
                "InstanceNormalization",
                "LayerNormalization",
                "LpNormalization",
                "Mish",
                "Softmax",
                "Softplus",
            ),
            ("attention", "matmul-add"),
        )
