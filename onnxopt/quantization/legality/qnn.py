"""What Qualcomm's HTP takes of a QDQ graph: asymmetric unsigned activations, and an encoding for every tensor."""

from __future__ import annotations

from onnxopt.quantization.legality import encodings, islands, operators
from onnxopt.quantization.legality.violation import Check

CHECKS: tuple[Check, ...] = (
    operators.no_integer_operators("QNN"),
    operators.integers_only_between_pairs,
    encodings.well_formed(),
    encodings.opset_has_it,
    encodings.integers(
        ("uint8", "uint16", "int8", "int16"),  # signed ones are told by `asymmetric_activations`
        ("int8", "uint8", "int4", "uint4", "int16", "uint16", "int32"),
        {},
        "quantize the float model for qnn",
    ),
    encodings.activations_per_tensor,
    islands.asymmetric_activations,
    islands.clips_start_at_zero,
    islands.no_float_islands,
    operators.norm_weights_per_tensor,
    operators.sixteen_bits,
    operators.weights_per_output_channel(),
)
"""Measured with onnxruntime-qnn 2.7, soc 36."""
