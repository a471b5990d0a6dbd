"""Which rule speaks for which operator."""

from __future__ import annotations

from collections.abc import Callable

from onnxopt.ir.node import Node
from onnxopt.pruning.channels.links import Links
from onnxopt.pruning.channels.rules import elementwise, layers, movement, normalizations, reductions, sizing
from onnxopt.pruning.channels.rules.reshape import reshape

Rule = Callable[[Node, Links], None]
RULES: dict[str, Rule] = {
    **dict.fromkeys(elementwise.ELEMENTWISE, elementwise.elementwise),
    **dict.fromkeys(elementwise.POOLS, elementwise.pool),
    **dict.fromkeys(reductions.REDUCTIONS, reductions.reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), reductions.arg_reduction),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), elementwise.quantization),
    **dict.fromkeys(("Conv", "ConvTranspose"), layers.convolution),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), layers.recurrent),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), normalizations.batch_normalization),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), normalizations.layer_normalization),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), normalizations.softmax),
    **dict.fromkeys(("CumSum", "CumProd", "LpNormalization"), normalizations.along),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), movement.squeeze),
    **dict.fromkeys(("Reshape", "Flatten"), reshape),
    **dict.fromkeys(("Resize", "Upsample"), sizing.resize),
    **dict.fromkeys(("Shape", "Size"), sizing.shape),
    "Concat": movement.concat,
    "DepthToSpace": movement.depth_to_space,
    "Einsum": layers.einsum,
    "Expand": sizing.expand,
    "Gather": movement.gather,
    "Gemm": layers.gemm,
    "GroupNormalization": normalizations.group_normalization,
    "MatMul": layers.matmul,
    "MeanVarianceNormalization": normalizations.mean_variance,
    "Pad": movement.pad,
    "Slice": movement.slice_,
    "SpaceToDepth": movement.space_to_depth,
    "Split": movement.split,
    "Tile": movement.tile,
    "Transpose": movement.transpose,
}
"""An operator that is not here, or of another domain, fixes all it touches."""
