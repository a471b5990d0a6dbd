"""Which operators are said otherwise for TensorRT, in which forms, and how."""

from __future__ import annotations

from collections.abc import Mapping

from onnxopt.rules.spelling_out import (
    Spelling,
    activations,
    bits,
    columns,
    cumulative,
    definitions,
    grids,
    normalizations,
    products,
    quantized,
    reductions,
    regions,
    remainders,
    resizing,
    scattering,
    selections,
    small_integers,
    spectra,
    windows,
)
from onnxopt.rules.tensorrt import forms, refusing

_DEFINED = Spelling("written as ONNX defines it", definitions.by_definition)
_BITS = Spelling("its bits by arithmetic", bits.bitwise, since=10)
_BYTES = Spelling("computed in int32", small_integers.bytes_in_int32, forms.narrow)
_UNSIGNED = Spelling("computed in int32", small_integers.in_int32, forms.unsigned)
_CAST = Spelling("spelled with Q/DQ of scale 1", quantized.scaled_cast, forms.eight_bits, since=19)
_REDUCED_BOOL = Spelling("reduced as 0 and 1", reductions.reduce_bool, forms.booleans)

_CHOOSING = ("NonMaxSuppression", "NonZero", "Unique")

TABLE: Mapping[str, tuple[Spelling, ...]] = {
    "AffineGrid": (Spelling("spelled as a MatMul", grids.affine_grid),),
    "AveragePool": (Spelling("spelled as a Conv", windows.average_pool_by_conv, forms.dilated),),
    "BatchNormalization": (
        Spelling("trained by moments", normalizations.batch_norm_in_training, forms.training, since=14),
    ),
    "BitShift": (Spelling("its bits by arithmetic", bits.shifted, since=11),),
    "BitwiseAnd": (_BITS,),
    "BitwiseNot": (Spelling("its bits by arithmetic", bits.bitwise_not),),
    "BitwiseOr": (_BITS,),
    "BitwiseXor": (_BITS,),
    "Cast": (_CAST,),
    "CastLike": (_CAST,),
    "Celu": (Spelling("spelled with Elu", activations.celu),),
    "Clip": (_BYTES,),
    "Col2Im": (Spelling("spelled with ConvTranspose", columns.col2im),),
    "Compress": (Spelling("spelled with Gather", selections.compress),),
    "ConvInteger": (Spelling("computed in float", quantized.conv_integer),),
    "CumProd": (Spelling("spelled with Mul", cumulative.cumulative_product),),
    "DFT": (Spelling("spelled with MatMul", spectra.dft),),
    "DeformConv": (Spelling("spelled with GridSample", regions.deform_conv, since=19),),
    "DequantizeLinear": (Spelling("spelled as arithmetic", quantized.dequantize, forms.foreign_dequantize, since=10),),
    "Det": (Spelling("spelled with products", selections.determinant),),
    "DynamicQuantizeLinear": (Spelling("spelled as arithmetic", quantized.dynamic_quantize, since=11),),
    "LayerNormalization": (
        Spelling("moments computed aside", normalizations.layer_norm_with_moments, forms.second_output),
    ),
    "LinearAttention": (Spelling("unrolled as ONNX defines it", definitions.by_unrolled_definition),),
    "LpPool": (Spelling("spelled with slices", windows.lp_pool, forms.hard_lp, since=10),),
    "MatMul": (Spelling("a vector as a matrix", products.matmul_of_row, forms.row_times_matrices, since=13),),
    "MatMulInteger": (Spelling("computed in float", quantized.matmul_integer),),
    "MaxPool": (
        Spelling("indices that nobody reads dropped", windows.one_output, forms.second_output),
        Spelling("spelled with slices", windows.max_pool, forms.dilated, since=10),
        Spelling("computed in float16", small_integers.max_pool_of_bytes, forms.narrow),
    ),
    "MaxUnpool": (Spelling("spelled with ScatterElements", scattering.max_unpool, since=11),),
    "MeanVarianceNormalization": (Spelling("spelled with ReduceMean", normalizations.mean_variance),),
    "Mod": (_BYTES, Spelling("spelled with the other remainder", remainders.floored, forms.floored, since=10)),
    "QLinearConv": (Spelling("spelled with Q/DQ", quantized.qlinear_conv, since=10),),
    "QLinearMatMul": (Spelling("spelled with Q/DQ", quantized.qlinear_matmul, since=10),),
    "QuantizeLinear": (Spelling("spelled as arithmetic", quantized.quantize, forms.foreign_quantize, since=11),),
    "ReduceMax": (_REDUCED_BOOL,),
    "ReduceMin": (_REDUCED_BOOL,),
    "Resize": (Spelling("spelled as a choice or matrix along each axis", resizing.resize, forms.hard_resize),),
    "RoiAlign": (Spelling("spelled with MatMul", regions.roi_align, since=13),),
    "ScatterElements": (Spelling("spelled with Reduce", scattering.scatter_elements, forms.reducing, since=13),),
    "ScatterND": (Spelling("spelled with Reduce", scattering.scatter_nd, forms.reducing, since=13),),
    **dict.fromkeys(_CHOOSING, (Spelling("a static form", refusing.CHOOSING),)),
    **dict.fromkeys(
        ("Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Sub"),
        (_UNSIGNED,),
    ),
    **dict.fromkeys(
        (
            "Attention", "CausalConvWithState", "CenterCropPad", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss",
            "SwiGLU",
        ),
        (_DEFINED,),
    ),
}  # fmt: skip

SPELLED = frozenset(TABLE) - frozenset(_CHOOSING)
"""Operators of which some form, at least, is said otherwise."""
