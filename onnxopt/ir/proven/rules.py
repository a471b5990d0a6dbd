"""The rules by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxopt.ir.node import Node
from onnxopt.ir.proven import branching, elementwise, movement, products, reducing, slicing, windows
from onnxopt.ir.proven.facts import Facts, Open

# fmt: off
_KEEP = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "Bernoulli", "BitwiseNot", "Cast",
    "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "DequantizeLinear", "Elu", "Erf", "Exp", "EyeLike",
    "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization",
    "IsInf", "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "QuantizeLinear", "RMSNormalization",
    "RandomNormalLike", "RandomUniformLike", "Reciprocal", "Relu", "ReverseSequence", "Round", "Scatter",
    "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus",
    "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu", "Trilu",
)
_BROADCASTING = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
)
_REDUCING = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)
# fmt: on
Rule = Callable[[Node, Facts], Open | Sequence[Open | None] | None]
CONTROL_FLOW: dict[str, Rule] = {"If": branching.if_, "Loop": branching.loop}
"""Asked when all is known of the nodes in the bodies."""
SHAPE_RULES: dict[str, Rule] = {
    **dict.fromkeys(_KEEP, elementwise.first),
    **dict.fromkeys(_BROADCASTING, elementwise.broadcast),
    **dict.fromkeys(_REDUCING, reducing.reduce_),
    **dict.fromkeys(("ArgMax", "ArgMin"), reducing.arg_reduce),
    **dict.fromkeys(("AveragePool", "LpPool"), windows.pool),
    **dict.fromkeys(("Conv", "ConvInteger"), windows.conv),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), reducing.recurrent),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), windows.global_pool),
    **dict.fromkeys(("MatMul", "MatMulInteger"), products.matmul),
    **dict.fromkeys(("RandomNormal", "RandomUniform"), reducing.given_shape),
    **dict.fromkeys(("Resize", "Upsample"), slicing.scaled),
    "Compress": slicing.compress,
    "Concat": movement.concat,
    "Constant": reducing.constant,
    "ConstantOfShape": reducing.constant_of_shape,
    "ConvTranspose": windows.conv_transpose,
    "DepthToSpace": windows.depth_to_space,
    "Dropout": elementwise.first_twice,
    "DynamicQuantizeLinear": elementwise.dynamic_quantize,
    "Einsum": products.einsum,
    "Expand": movement.expand,
    "Flatten": movement.flatten,
    "Gather": slicing.gather,
    "GatherElements": slicing.second,
    "GatherND": slicing.gather_nd,
    "Gemm": products.gemm,
    "GridSample": slicing.grid_sample,
    "MaxPool": windows.max_pool,
    "NonMaxSuppression": reducing.non_max_suppression,
    "NonZero": reducing.non_zero,
    "OneHot": reducing.one_hot,
    "Pad": movement.pad,
    "QLinearConv": windows.qlinear_conv,
    "QLinearMatMul": products.qlinear_matmul,
    "Range": reducing.range_,
    "Reshape": movement.reshape,
    "RoiAlign": slicing.roi_align,
    "Shape": reducing.shape,
    "Size": reducing.scalar,
    "Slice": slicing.slice_,
    "SpaceToDepth": windows.space_to_depth,
    "Split": movement.split,
    "Squeeze": movement.squeeze,
    "Tile": movement.tile,
    "TopK": reducing.top_k,
    "Transpose": movement.transpose,
    "Unique": reducing.unique,
    "Unsqueeze": movement.unsqueeze,
}
"""The dimensions of an operator's first output, or a list of those of all. What is not here proves nothing."""
WITHOUT_INPUTS = frozenset({"Constant", "RandomNormal", "RandomUniform"})
"""Every other rule counts on the first input."""
