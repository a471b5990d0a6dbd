"""How Core ML likes computations to be spelled, and where it takes integers."""

from __future__ import annotations

from onnxopt.pipeline.dialect import ACCELERATED, Dialect
from onnxopt.pipeline.quantization import QuantizationRules

DIALECT = Dialect((*ACCELERATED, "Swish"))
"""One node for what MIL has one operation for."""

QUANTIZATION = QuantizationRules(
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
"""W8A8: symmetric int8 upon the inputs of convolutions and products; biases stay in float."""
