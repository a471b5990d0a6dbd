"""Which operators are said otherwise for HTP, in which forms, and how."""

from __future__ import annotations

from collections.abc import Mapping

from onnxopt.rules.qnn import forms
from onnxopt.rules.spelling_out import (
    Spelling,
    activations,
    definitions,
    grids,
    normalizations,
    padding,
    products,
    recurrence,
    reductions,
    resizing,
    selections,
    small_integers,
    trigonometry,
    windows,
)

_DEFINED = Spelling("written as ONNX defines it", definitions.by_definition)
_NARROW = Spelling("computed in int32", small_integers.in_int32, forms.narrow)
_ONE_INPUT = Spelling("its only input", selections.only_input, forms.one_input)
_LAST_AXIS = Spelling("several axes normalized as one", normalizations.normalize_last_axis, forms.several_axes)
_LAST_INDEX = Spelling("the last index by the first of the reverse", selections.arg_last, forms.last_index, since=12)
_REDUCED_BOOL = Spelling("reduced as 0 and 1", reductions.reduce_bool, forms.booleans)

TABLE: Mapping[str, tuple[Spelling, ...]] = {
    "Acos": (Spelling("spelled with Atan", trigonometry.acos),),
    "Acosh": (Spelling("spelled with Log", trigonometry.acosh),),
    "Asin": (Spelling("spelled with Atan", trigonometry.asin),),
    "Asinh": (Spelling("spelled with Log", trigonometry.asinh),),
    "Atanh": (Spelling("spelled with Log", trigonometry.atanh),),
    "Cosh": (Spelling("spelled with Exp", trigonometry.cosh),),
    "Sinh": (Spelling("spelled with Exp", trigonometry.sinh),),
    "Dropout": (Spelling("its input: it does not train", selections.dropout, since=7),),
    "Erf": (Spelling("spelled as a quotient of polynomials", activations.erf, forms.lonely_erf),),
    "Celu": (Spelling("spelled with Elu", activations.celu),),
    "Shrink": (Spelling("spelled with Where", activations.shrink),),
    "Softsign": (Spelling("spelled with Abs", activations.softsign),),
    "Hardmax": (Spelling("spelled with ArgMax", selections.hardmax),),
    "Trilu": (Spelling("spelled with Where", selections.trilu),),
    "Det": (Spelling("spelled with products", selections.determinant),),
    "AffineGrid": (Spelling("spelled as a MatMul", grids.affine_grid),),
    "Attention": (Spelling("the mask made numbers", selections.added_mask, forms.boolean_mask),),
    "BitwiseNot": (Spelling("spelled with Sub", small_integers.bitwise_not, forms.wide_integers),),
    "RNN": (Spelling("unrolled", recurrence.rnn),),
    "Scatter": (Spelling("named ScatterElements", selections.scatter, since=11),),
    "ArgMax": (_LAST_INDEX,),
    "ArgMin": (_LAST_INDEX,),
    "ReduceL1": (Spelling("spelled with ReduceSum", reductions.reduce_l1),),
    "ReduceSumSquare": (Spelling("spelled with ReduceSum", reductions.reduce_sum_square),),
    "ReduceLogSum": (Spelling("spelled with ReduceSum", reductions.reduce_log_sum),),
    "ReduceProd": (Spelling("spelled with Mul", reductions.reduce_prod, since=10),),
    "ReduceMax": (_REDUCED_BOOL,),
    "ReduceMin": (_REDUCED_BOOL,),
    "Gemm": (Spelling("factors multiplied in", products.gemm_without_factors, forms.factors),),
    "Pad": (
        Spelling("padding said for every axis", padding.pad_every_axis, forms.some_axes),
        Spelling("padding gathered", padding.pad_by_gather, forms.repeating),
    ),
    "AveragePool": (
        Spelling("spelled with slices", windows.average_pool, forms.hard_volume, since=10),
        Spelling("spelled as a Conv", windows.average_pool_by_conv, forms.wrong_average),
        Spelling("spelled as a Conv", windows.average_pool_by_conv, forms.dilated),
    ),
    "MaxPool": (
        Spelling("indices that nobody reads dropped", windows.one_output, forms.second_output),
        Spelling("spelled with slices", windows.max_pool, forms.dilated, since=10),
        Spelling("spelled with slices", windows.max_pool, forms.volume, since=10),
        Spelling("its windows by pads", windows.explicit_pads, forms.dropped_window),
    ),
    "LpPool": (Spelling("spelled with slices", windows.lp_pool, forms.wrong_lp, since=10),),
    "LayerNormalization": (
        Spelling("moments computed aside", normalizations.layer_norm_with_moments, forms.second_output),
        _LAST_AXIS,
    ),
    "RMSNormalization": (_LAST_AXIS,),
    "MeanVarianceNormalization": (Spelling("spelled with ReduceMean", normalizations.mean_variance),),
    "LpNormalization": (Spelling("spelled with ReduceSum", normalizations.lp_normalization, forms.other_power),),
    "Resize": (Spelling("spelled as a choice or matrix along each axis", resizing.resize, forms.wrong_resize),),
    "Pow": (Spelling("the exponent in the type of the base", small_integers.power_of_float, forms.integer_power),),
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        (_NARROW,),
    ),
    **dict.fromkeys(("Max", "Min"), (_ONE_INPUT, _NARROW)),
    **dict.fromkeys(("Mean", "Sum"), (_ONE_INPUT,)),
    **dict.fromkeys(
        ("CenterCropPad", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
        (_DEFINED,),
    ),
}
