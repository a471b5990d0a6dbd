"""What Core ML takes of a QDQ graph: W8A8 with symmetric int8, one scale an activation, biases that are float."""

from __future__ import annotations

from onnxopt.quantization.legality import encodings, operators, placement
from onnxopt.quantization.legality.violation import Check, slow

_REMEDY = "quantize the float model for coreml"
CHECKS: tuple[Check, ...] = (
    operators.no_integer_operators("Core ML"),
    operators.no_foreign_pairs("Core ML"),
    operators.integers_only_between_pairs,
    encodings.well_formed(),
    encodings.integers(("int8", "uint8"), ("int8", "uint8", "int4", "uint4"), {}, _REMEDY),
    encodings.symmetric(slow, _REMEDY),
    encodings.activations_per_tensor,
    encodings.float_biases,
    operators.weights_per_output_channel(),
    placement.ranks(1, 5),
)
"""`quantize` and `dequantize` (iOS 17) are of 8 bits; constants are of 8, and from iOS 18 of 4, with blocks."""
