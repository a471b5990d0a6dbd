"""How far each tensor inside a model is from the one of the same name in the model that it was made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.activations.streaming import WHAT, Report, samples_in
from onnxopt.activations.tap_session import TapSession
from onnxopt.activations.tapping import tapped
from onnxopt.data import DataSet
from onnxopt.data.scores import Near, Snr
from onnxopt.ir.element_types import element_types
from onnxopt.runtime.evaluation import suited


@dataclass(frozen=True)
class TensorNoise:
    """One tensor."""

    tensor: str
    """Its name, in both models."""
    op: str
    """The operator that computes it in the reference."""
    snr: float
    """Signal-to-noise ratio over all samples, dB; NaN where the model's is not finite."""


def tensor_noise(
    reference: ir.Graph, model: ir.Graph, data: DataSet, report: Report | None = None
) -> list[TensorNoise]:
    """Compare the floating-point tensors that have one name and shape in both main graphs, in the reference's order.

    What is dequantized has the name of the float tensor that it stands for, so these are a quantized model's
    activations. Memory does not grow with the number of samples.

    Args:
        reference: The model that the other one was made of.
        model: It takes inputs of the same names.
        data: Samples for the reference.
        report: Told how many samples are done.

    Raises:
        BadData: A sample does not fit.
        NotRunnable: onnxruntime refuses one of the models.
    """
    common = _computed(model)
    ops = {name: op for name, op in _computed(reference).items() if name in common}
    names = list(ops)
    if not names:
        return []
    one, other = _session(reference, names), _session(model, names)
    near, left_out, done = Near("snr", None, Snr), set(), 0
    for feeds in data.batches():
        count = samples_in(feeds, data)
        expected, actual = one.views(feeds, names), other.views(suited(feeds, other.inputs), names)
        left_out |= {name for name in names if np.shape(expected[name]) != np.shape(actual[name])}
        near.add(actual, {name: expected[name] for name in names if name not in left_out}, {}, count)
        del expected, actual  # else they would stand beside the next ones
        done += count
        if report is not None:
            report(WHAT, done, data.length or 0)
    found = near.values
    return [TensorNoise(name, op, found.get(name, math.nan)) for name, op in ops.items() if name not in left_out]


def _session(graph: ir.Graph, names: Sequence[str]) -> TapSession:
    with tapped(graph, names) as model:
        return TapSession(model)


def _computed(graph: ir.Graph) -> dict[str, str]:
    """The floating-point tensors that nodes of the main graph compute of what is no constant: operator by name."""
    types = element_types(graph)
    found = {}
    for node in graph.nodes:
        if all(isinstance(tensor, ir.Constant) for tensor in node.inputs if tensor.name):
            continue
        for tensor in node.outputs:
            dtype = types.get(tensor, tensor.dtype)
            if tensor.name and isinstance(dtype, np.dtype) and dtype.kind in "fV" and dtype.itemsize > 1:
                found[tensor.name] = node.op
    return found
