"""What onnxruntime's CPU kernels take of a QDQ graph: what ONNX demands, and the shapes that become QLinear kernels."""

from __future__ import annotations

from onnxopt.quantization.legality import encodings, operators
from onnxopt.quantization.legality.violation import Check, slow, wrong

CHECKS: tuple[Check, ...] = (
    encodings.well_formed(constant_scales=False),
    encodings.opset_has_it,
    encodings.activations_per_tensor,
    encodings.biases_of_products,
    operators.weights_per_output_channel(wrong, ("Conv", "MatMul"), "fails when it runs"),
    operators.weights_per_output_channel(slow, ("Gemm",)),
)
"""Measured with onnxruntime 1.31, CPU: which graphs become QLinear kernels, and which of those fail."""
