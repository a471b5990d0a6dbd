"""Multiply-accumulates of one node, by the formulas of the ONNX operator specification (docs/Operators.md).

Counted are contractions: convolutions, matrix products, recurrent cells, attention. Elementwise arithmetic,
activations, normalization, pooling, interpolation and data movement count as 0, and so does the addition of a bias. A
convolution is counted over its whole output, as if padding were data. An operator unknown here has no figure, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor

Dims = tuple[int, ...]
ShapeOf = Callable[[Tensor], Dims | None]
"""Gives the shape of a tensor in numbers; None where one of them is not known."""


def node_macs(node: Node, shape_of: ShapeOf) -> int | None:
    """Multiply-accumulates of one run of a node, those of its subgraphs not included.

    Returns None where a shape that the formula needs is not known, or the operator is not.
    """
    name = qualified_op(node)
    rule = RULES.get(name)
    if rule is None:
        return 0 if name in WITHOUT_MACS else None
    try:
        return rule(_Shapes(node, shape_of))
    except (IndexError, TypeError, ValueError):  # a rank, or an attribute, that the operator cannot have
        return None


def qualified_op(node: Node) -> str:
    """The operator, with its domain unless that is ONNX's default one: `Conv`, `com.microsoft.FusedConv`."""
    return node.op if node.is_standard else f"{node.domain}.{node.op}"


class _Shapes:
    """The shapes and attributes of one node."""

    def __init__(self, node: Node, shape_of: ShapeOf) -> None:
        self.node = node
        self.shape_of = shape_of

    def input(self, index: int) -> Dims | None:
        """Shape of an input; None where it is omitted."""
        inputs = self.node.inputs
        return self.shape_of(inputs[index]) if index < len(inputs) and inputs[index].name else None

    def output(self) -> Dims | None:
        """Shape of the first output."""
        return self.shape_of(self.node.outputs[0]) if self.node.outputs and self.node.outputs[0].name else None

    def has_input(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index].name)

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or the default."""
        return self.node.attr(name, default)


Rule = Callable[[_Shapes], int | None]


def _conv(weight_at: int) -> Rule:
    """Conv: every output element sums over C/group channels and the kernel; W is [M, C/group, k1, k2, ...]."""

    def rule(shapes: _Shapes) -> int | None:
        out, weight = shapes.output(), shapes.input(weight_at)
        return None if out is None or weight is None else math.prod(out) * math.prod(weight[1:])

    return rule


def _conv_transpose(shapes: _Shapes) -> int | None:
    """ConvTranspose: every input element is spread over M/group channels and the kernel; W is [C, M/group, k1, ...]."""
    data, weight = shapes.input(0), shapes.input(1)
    return None if data is None or weight is None else math.prod(data) * math.prod(weight[1:])


def _matmul(left_at: int = 0, transposed: str = "") -> Rule:
    """MatMul, Gemm: every output element sums over K, the left operand's last axis or, transposed, the one before."""

    def rule(shapes: _Shapes) -> int | None:
        out, left = shapes.output(), shapes.input(left_at)
        if out is None or left is None or not left or shapes.attr("transBatchA") or shapes.attr("transBatchB"):
            return None
        return math.prod(out) * left[-2 if transposed and shapes.attr(transposed) else -1]

    return rule


def _matmul_nbits(shapes: _Shapes) -> int | None:
    """MatMulNBits: B is packed; K is an attribute."""
    out = shapes.output()
    return None if out is None else math.prod(out) * int(shapes.attr("K", 0))


def _recurrent(shapes: _Shapes) -> int | None:
    """RNN, GRU, LSTM: each step of each sequence multiplies by W [dirs, gates*H, I] and R [dirs, gates*H, H] once."""
    data, weight, recurrence = shapes.input(0), shapes.input(1), shapes.input(2)
    if data is None or weight is None or recurrence is None:
        return None
    return data[0] * data[1] * (math.prod(weight) + math.prod(recurrence))


def _attention(shapes: _Shapes) -> int | None:
    """Attention: Q.K^T and P.V, for every query head over all keys, the past ones included.

    Q, K, V are [batch, heads, length, size], or [batch, length, heads*size] with the heads as attributes.
    """
    query, key, value = shapes.input(0), shapes.input(1), shapes.input(2)
    past = shapes.input(4)
    if query is None or key is None or value is None or (past is None and shapes.has_input(4)):
        return None
    length = 2 if len(query) == 4 else 1
    heads = query[1] if len(query) == 4 else shapes.attr("q_num_heads")
    kv_heads = key[1] if len(query) == 4 else shapes.attr("kv_num_heads")
    if not heads or not kv_heads:
        return None
    keys = key[length] + (past[2] if past is not None else 0)
    sizes = key[-1] + value[-1] if len(query) == 4 else (key[-1] + value[-1]) // kv_heads
    return int(query[0] * heads * query[length] * keys * sizes)


def _einsum(shapes: _Shapes) -> int | None:
    """Einsum of two operands: the product of all indices where one is summed over; of one operand, no product.

    With three or more the cost depends on the order of contraction, which the specification leaves open.
    """
    equation = shapes.attr("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) == 1:
        return 0
    known = [shape for shape in (shapes.input(0), shapes.input(1)) if shape is not None]
    if len(terms) != 2 or len(known) != 2:
        return None
    sizes: dict[str, int] = {}
    spread: list[Dims] = []
    for term, shape in zip(terms, known, strict=True):
        before, dots, after = term.partition("...")
        letters = before + after
        inner = len(shape) - len(letters)
        if inner < 0 or (inner and not dots):
            return None
        spread.append(shape[len(before) : len(before) + inner])
        for letter, size in zip(letters, shape[: len(before)] + shape[len(before) + inner :], strict=True):
            sizes[letter] = max(size, sizes.get(letter, 0))
    kept = set(right) if arrow else {letter for letter in sizes if left.count(letter) == 1}
    if sizes.keys() <= kept:
        return 0
    return math.prod(sizes.values()) * math.prod(np.broadcast_shapes(*spread))


def _affine_grid(shapes: _Shapes) -> int | None:
    """AffineGrid: every coordinate is a row of theta, [N, 2, 3] or [N, 3, 4], times a point."""
    out, theta = shapes.output(), shapes.input(0)
    return None if out is None or theta is None else math.prod(out) * theta[-1]


def _linear_model(shapes: _Shapes) -> int | None:
    """LinearClassifier, LinearRegressor: each row of X, [N, C] or [C], times all coefficients."""
    data = shapes.input(0)
    return None if data is None else (data[0] if len(data) > 1 else 1) * len(shapes.attr("coefficients") or ())


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvInteger", "DeformConv", "CausalConvWithState", "com.microsoft.FusedConv"), _conv(1)),
    **dict.fromkeys(("QLinearConv", "com.microsoft.QLinearConv"), _conv(3)),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), _matmul()),
    **dict.fromkeys(("com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulIntegerToFloat"), _matmul()),
    **dict.fromkeys(("Gemm", "com.microsoft.FusedGemm", "com.microsoft.FusedMatMul"), _matmul(transposed="transA")),
    "com.microsoft.QGemm": _matmul(transposed="transA"),
    "com.microsoft.MatMulNBits": _matmul_nbits,
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    "Attention": _attention,
    "Einsum": _einsum,
    "AffineGrid": _affine_grid,
    **dict.fromkeys(("ai.onnx.ml.LinearClassifier", "ai.onnx.ml.LinearRegressor"), _linear_model),
}
"""By operator, as `qualified_op` names it."""

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp
    Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log
    Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign
    Sin Sinh Softplus Softsign Sqrt Sub Sum SwiGLU Swish Tan Tanh ThresholdedRelu Where Xor
"""
"""Elementwise arithmetic, comparison, activation, conversion."""
_REDUCING = """
    ArgMax ArgMin AveragePool BatchNormalization CumProd CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool
    GridSample GroupNormalization Hardmax InstanceNormalization LRN LayerNormalization LogSoftmax
    LpNormalization LpPool MaxPool MaxRoiPool MaxUnpool MeanVarianceNormalization NegativeLogLikelihoodLoss
    RMSNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Resize RoiAlign RotaryEmbedding Softmax SoftmaxCrossEntropyLoss Upsample
"""
"""Reduction, normalization, pooling, interpolation, loss."""
_MOVING = """
    Bernoulli BlackmanWindow CenterCropPad Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape
    DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND HammingWindow HannWindow If ImageDecoder
    Loop MelWeightMatrix Multinomial NonMaxSuppression NonZero OneHot Optional OptionalGetElement
    OptionalHasElement Pad RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range RegexFullMatch
    Reshape ReverseSequence Scan Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength SequenceMap Shape Size Slice SpaceToDepth Split SplitToSequence
    Squeeze StringConcat StringNormalizer StringSplit TensorScatter TfIdfVectorizer Tile TopK Transpose Trilu
    Unique Unsqueeze
"""
"""Data movement, selection, generation, sequences, strings; the bodies of If, Loop, ... are counted apart."""
_ML = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
"""Of ai.onnx.ml: trees compare, the rest looks up or scales."""
_ONNXRUNTIME = """
    BiasGelu BiasSoftmax DequantizeLinear FastGelu Gelu QLinearAdd QLinearAveragePool QLinearConcat
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QuantizeLinear QuickGelu
    RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization
"""
"""Of onnxruntime's com.microsoft."""
WITHOUT_MACS = frozenset(
    [
        *f"{_ELEMENTWISE} {_REDUCING} {_MOVING}".split(),
        *(f"ai.onnx.ml.{op}" for op in _ML.split()),
        *(f"com.microsoft.{op}" for op in _ONNXRUNTIME.split()),
    ]
)
"""Operators that multiply and accumulate nothing in the sense above."""
