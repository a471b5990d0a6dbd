"""Tables of the finished graph: quantization encodings, zeros by layer, signal-to-noise ratios, targets' rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxopt.report.encodings import encodings
from onnxopt.report.sparsity import sparsity

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.pipeline.base import Context
    from onnxopt.pipeline.pipeline import Pipeline

_MOST_WEIGHTS = 1 << 28
"""Bytes of weights up to which zeros are counted: all of them are read for that."""
_SAMPLES = 8
"""Of the data, for the signal-to-noise ratios."""


def tables(
    graph: ir.Graph, first: ir.Graph, ctx: Context | None = None, pipeline: Pipeline | None = None
) -> dict[str, Any]:
    """What there is to tabulate of a graph beside the one that it was made of."""
    from onnxopt.ir.weights import weights

    found: dict[str, Any] = {"encodings": encodings(graph), "rules": broken_rules(graph)}
    if sum(constant.nbytes for constant in weights(graph)) <= _MOST_WEIGHTS:
        found["sparsity"] = sparsity(graph)
    if ctx is not None and pipeline is not None:
        found["noise"] = layer_noise(graph, first, ctx, pipeline)
    return found


def broken_rules(graph: ir.Graph) -> dict[str, list[dict[str, Any]]]:
    """Of a quantized graph, by target: the rules for quantization that it breaks. Empty for a float graph."""
    from onnxopt import ir
    from onnxopt.pipeline.target import distinct_targets
    from onnxopt.quantization.legality import CHECKS, violations

    if not any(node.is_op("QuantizeLinear", "DequantizeLinear") for node in ir.every_node(graph)):
        return {}
    return {
        target: [{"node": one.node, "reason": one.reason, "wrong": one.is_wrong} for one in violations(graph, target)]
        for target in distinct_targets()
        if target in CHECKS
    }


def layer_noise(graph: ir.Graph, first: ir.Graph, ctx: Context, pipeline: Pipeline) -> list[dict[str, Any]]:
    """The signal-to-noise ratio of each tensor, where data were given and a pass may have changed values.

    Empty where the tensors cannot be looked at: the run itself has verified the outputs.
    """
    from onnxopt.errors import OnnxoptError
    from onnxopt.pipeline.base import Preserves
    from onnxopt.quantization.layerwise import tensor_noise
    from onnxopt.report.accuracy import layers_json

    if ctx.data is None or all(pass_.preserves is not Preserves.ACCURACY for pass_ in pipeline.passes()):
        return []
    try:
        rows = layers_json(tensor_noise(first, graph, ctx.data.take(_SAMPLES), ctx.report_progress))
    except OnnxoptError:
        return []
    return [{**row, "snr": row["snr"] if np.isfinite(row["snr"]) else str(row["snr"])} for row in rows]
