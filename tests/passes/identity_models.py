"""What `eliminate-identities` is tried on."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.passes.eliminate_identities import EliminateIdentities
from tests.passes.checks import parse

ELIMINATE = EliminateIdentities()
ODD = np.array([[0.0, -0.0, np.inf], [-np.inf, 1e-42, np.nan]], np.float32)
"""A denormal among them."""


def around(node: str, weights: str = "", *, opset: int = 17, data: str = "float[n,3]") -> ir.Graph:
    """A model that computes `a = Relu (x)`, then the node, which makes `b` of it, then `y = Neg (b)`."""
    version = 8 if opset >= 8 else 3
    return parse(f"""
        <ir_version: {version}, opset_import: ["" : {opset}]>
        g ({data} x) => ({data.split("[")[0]}[p,q] y) <{weights}> {{ a = Neg (x) {node} y = Neg (b) }}
    """)
