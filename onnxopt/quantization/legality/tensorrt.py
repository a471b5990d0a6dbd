"""What TensorRT takes of a QDQ graph: symmetric int8 with its zero point written, float biases, Q/DQ where it fuses."""

from __future__ import annotations

from onnxopt.quantization.legality import encodings, in_float, misread, operators, placement
from onnxopt.quantization.legality.violation import Check, wrong

_FLOATS = ("float8_e4m3fn", "float4_e2m1fn")
_REMEDY = "quantize the float model for tensorrt"
CHECKS: tuple[Check, ...] = (
    operators.no_integer_operators("TensorRT"),
    operators.no_foreign_pairs("TensorRT"),
    misread.integers_handed_on,
    encodings.well_formed(),
    misread.normal_scales,
    misread.zero_points_written,
    encodings.integers(
        ("int8", *_FLOATS),
        ("int8", "int4", *_FLOATS),
        {"uint8": "requantize makes int8 of it where the zero point is 128, and else it is silently wrong"},
        _REMEDY,
    ),
    encodings.symmetric(wrong, _REMEDY),
    misread.saturating,
    encodings.activations_per_tensor,
    encodings.float_biases,
    in_float.one_input,
    in_float.scales_that_fuse,
    operators.weights_per_output_channel(ops=("ConvTranspose",)),
    placement.one_pair_a_tensor,
    placement.nothing_inside_a_fusion,
    placement.concat_of_one_scale,
    placement.skip_branch_only,
    placement.no_norms,
    placement.no_attention_cores,
    placement.no_first_layers,
    placement.no_vector_products,
    placement.outputs_stay_float,
)
"""Measured with TensorRT-RTX 1.7. What it refuses, gets wrong or computes in float without a word is wrong; what costs
time or accuracy alone is not."""
