"""Checkers of quantized graphs, a file for each target, written from what was measured of the targets.

They share nothing with the passes that quantize: what a pass believes of a target, its checker does not know.
"""

from __future__ import annotations

from onnxopt import ir
from onnxopt.quantization.legality import coreml, onnx, qnn, tensorrt
from onnxopt.quantization.legality.facts import Facts
from onnxopt.quantization.legality.violation import Check, Violation

CHECKS: dict[str, tuple[Check, ...]] = {
    "onnx": onnx.CHECKS,
    "qnn": qnn.CHECKS,
    "qnn-kit": qnn.CHECKS,
    "tensorrt": tensorrt.CHECKS,
    "coreml": coreml.CHECKS,
    "coreml-kit": coreml.CHECKS,
}
"""By target."""


def violations(graph: ir.Graph, target: str) -> list[Violation]:
    """The rules of `target` that the Q/DQ of `graph` break, in all scopes; every node named, and what to do.

    A graph that is not quantized breaks none. Raises KeyError for a target without rules.
    """
    facts = Facts(graph)
    return [violation for check in CHECKS[target] for violation in check(facts)]


__all__ = ["CHECKS", "Violation", "violations"]
