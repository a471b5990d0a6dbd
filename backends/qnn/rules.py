"""What HTP likes: the spelling of graphs, and where integers go."""

from __future__ import annotations

from onnxopt.pipeline.dialect import ACCELERATED, Dialect
from onnxopt.pipeline.quantization import QuantizationRules

_COMPUTED = (
    "Abs", "Add", "AveragePool", "Ceil", "Cos", "Div", "Elu", "Exp", "Floor", "Gelu", "GlobalAveragePool",
    "GlobalMaxPool", "GridSample", "HardSigmoid", "HardSwish", "InstanceNormalization", "LayerNormalization",
    "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "Max", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow",
    "RMSNormalization", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Resize", "Round", "Sigmoid", "Sin",
    "Softmax", "Softplus", "Sqrt", "Sub", "Tanh", "Where",
)  # fmt: skip
"""Operators that HTP computes in integers."""
_SHARED = (
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "MaxPool", "Reshape",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators that move values."""

DIALECT = Dialect((*ACCELERATED, "RMSNormalization"))
"""One node for what HTP has an operator for: Gelu too, since it refuses Erf outside of one."""

QUANTIZATION = QuantizationRules(
    activations=("uint8", "uint16"),
    weights=("int8", "uint8", "int4"),
    wide="uint16",
    layers=("Conv", "ConvTranspose", "Gemm", "MatMul"),
    per_channel=("Conv", "ConvTranspose"),
    outputs=("Conv", "ConvTranspose", "Gemm", "MatMul"),
    computed=_COMPUTED,
    everywhere=True,
    shared=_SHARED,
    fused=("Clip", "Relu"),
    bounds="encoded",
    normalizations=("InstanceNormalization", "LayerNormalization", "RMSNormalization"),
)
"""An encoding for everything that HTP computes.

Symmetric activations compile and are silently wrong, and so is a Relu or Clip whose encoding does not begin at its
bound. Weights are int8, per channel in Conv and ConvTranspose; those of normalizations per tensor.
"""
