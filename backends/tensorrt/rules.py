"""What TensorRT likes: the spelling of graphs, and where integers go."""

from __future__ import annotations

from onnxopt.pipeline.dialect import ACCELERATED, Dialect
from onnxopt.pipeline.quantization import QuantizationRules

_SHARED = (
    "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators over which the builder moves Q/DQ."""

DIALECT = Dialect((*ACCELERATED, "GroupNormalization", "Mish"), ("attention", "matmul-add"))
"""One node for what its parser maps to one layer; attention cores stay as they are, its builder fuses them."""

QUANTIZATION = QuantizationRules(
    activations=("int8",),
    weights=("int8",),
    layers=("Conv", "Gemm", "MatMul"),
    symmetric=True,
    per_channel=("Conv", "Gemm", "MatMul"),
    bias="float",
    shared=_SHARED,
    fused=("Clip", "Relu"),
    residual=("Conv",),
    products=False,
    vectors=False,
    first_channels=5,
)
"""Symmetric int8 upon the inputs of layers, not their outputs; what the builder fuses stays whole.

Anything else is refused, silently wrong or silently runs in float, as ConvTranspose does in RTX 1.7. Products of a row,
first layers of few channels, normalizations and attention cores are better left in float.
"""
