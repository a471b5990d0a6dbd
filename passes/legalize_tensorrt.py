"""`legalize-tensorrt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.spelling_out import spell_out
from onnxopt.rules.tensorrt.table import TABLE


@dataclass(frozen=True)
class LegalizeTensorrt(Pass):
    """Say otherwise, with the same values, what TensorRT's parser or builder refuses.

    By what ONNX defines them as: Attention, of which few forms have a kernel of their own, while the builder fuses the
    products itself; LinearAttention (unrolled, up to 64 steps), CausalConvWithState, SwiGLU, CenterCropPad, the two
    losses. By simpler operators: AffineGrid, Celu, Col2Im, Compress by a known condition, CumProd (up to 64 elements),
    DFT of a known length, DeformConv, Det (up to 3 rows), MaxUnpool, MeanVarianceNormalization, RoiAlign that averages;
    BatchNormalization that trains, LayerNormalization with its moments, dilated pools, LpPool of other powers,
    antialiased, cropped and other Resize, ReduceMax and ReduceMin of truth values, ScatterND and ScatterElements that
    reduce, a vector times matrices, Mod of floating-point numbers with the sign of the divisor. In int32: arithmetic
    and comparisons of uint8, Clip and Mod of bytes; the operators on bits by arithmetic.

    Quantized: QLinearConv and QLinearMatMul by Q/DQ; ConvInteger and MatMulInteger in float32, where it is exact;
    DynamicQuantizeLinear, and Q/DQ that TensorRT has not, by the arithmetic that they are; Cast of float8 by Q/DQ. Of a
    zero point of 128 `requantize` makes int8, which stays fast: run it after, and then O2, which folds constants.
    BatchNormalization, which TensorRT does not fold, is best folded before (fuse-conv-bn).

    Near matches are refused for sizes or parameters that are not known before the model runs (`freeze-shapes`), types
    that TensorRT has not, and in functions, whose values have no one type: `inline-functions` first. NonMaxSuppression,
    NonZero and Unique have no static form. bfloat16 is spelled out by definitions alone. Works in subgraphs. The sign
    of a zero may change, and integers of QLinearConv and QLinearMatMul by one, where a value is in the middle of two.
    Where TensorRT multiplies float32 in TF32, which is its default, DFT, Resize and RoiAlign are as exact as that.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        if not spell_out(graph, TABLE, ctx):
            return False
        ir.sweep(graph, allow=lambda node: node.is_op("QuantizeLinear"))  # those that were computed in their readers
        return True
