"""Layers with what `fuse-conv-bn` folds into them, and a look at their weights."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from tests.passes.random_weights import random_layers

BN = "float[4] s, float[4] b, float[4] m, float[4] var"
DATA = "float[2,3,7,6] x"


def conv_bn(body: str, weights: str = "float[4,3,3,3] w", *, opset: int = 17) -> ir.Graph:
    """A model of data `x`, weights, per-channel parameters `s b m var`, output `y`."""
    return random_layers(body, f"{weights}, {BN}", opset=opset, data=DATA)


def weight(graph: ir.Graph, node: int = 0, index: int = 1) -> np.ndarray:
    return np.asarray(graph.nodes[node].inputs[index].read())
