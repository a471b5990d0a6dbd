"""What helps against a refusal, where that is known: data, by what the libraries say and by operator."""

from __future__ import annotations

import re

from onnxopt.backends.qnn.trace import Refusal
from onnxopt.rules.qnn.table import TABLE

LEGALIZE = "legalize-qnn"
"""The pass that says operators otherwise: those of its table."""

BY_REASON: tuple[tuple[str, str], ...] = (
    (r"Cannot get shape", "give every dimension a size: freeze-shapes{NAME=SIZE}, then O3"),
    (r"dynamic min/max|must be a constant", "fold-constants, where it follows from constants"),
    (r"map Onnx data type|Failed to add node", "HTP has float32, float16, int32 and quantized integers: see the types"),
)
"""A pattern of the reason, and what helps."""

BY_OPERATOR = {
    "BatchNormalization": "fuse-conv-bn, behind a convolution",
    "If": "inline-if, where its condition is known",
    "Loop": "unroll-loops",
}
"""An operator that HTP has not, and the pass that does without."""


def remedy(refusal: Refusal) -> str:
    """What helps, in a few words; empty where nothing is known."""
    for pattern, helps in BY_REASON:
        if re.search(pattern, refusal.reason) and refusal.op not in TABLE:
            return helps
    if refusal.op in TABLE:
        always = any(spelling.where is None for spelling in TABLE[refusal.op])
        return LEGALIZE if always else f"{LEGALIZE}, in some forms"
    return BY_OPERATOR.get(refusal.op, "")
