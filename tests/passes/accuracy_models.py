"""A model that 8 bits are hard on, data for it, and how far a quantized model is from the float one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.data.metrics import snr
from onnxopt.passes.quantize import Quantize
from onnxopt.pipeline.base import Context, Pass
from onnxopt.quantization.float_model import FloatModel
from tests.passes.checks import parse, run
from tests.quantization.calibrated import samples_for

IMAGE = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4, 9, 9] x) => (float[N, 5, 9, 9] y)
  <float[8, 4, 3, 3] w1, float[8] b1, float[8, 1, 3, 3] w2, float[8] b2, float[8, 8, 1, 1] w3, float[8] b3,
   float[5, 8, 3, 3] w4, float[5] b4> {
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <group = 8, pads = [2, 2, 2, 2], dilations = [2, 2]> (r1, w2, b2)
    r2 = Relu (c2)
    c3 = Conv (r2, w3, b3)
    a = Add (c3, r1)
    y = Conv <pads = [1, 1, 1, 1]> (a, w4, b4)
  }"""
"""A residual block: what c1 and c3 give out is one stream of channels."""
TOKENS = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 6, 16] x) => (float[N, 6, 8] y, float[N, 6, 8] z)
  <float[16] scale, float[16] shift, float[16, 8] wq, float[16, 8] wk> {
    n = LayerNormalization (x, scale, shift)
    y = MatMul (n, wq)
    z = MatMul (n, wk)
  }"""
"""A normalization and the products that read it."""


def filled(text: str, seed: int = 0, *, spread: float = 1.0) -> ir.Graph:
    """A model with random weights, its first layer's or normalization's channels of very different size."""
    rng = np.random.default_rng(seed)

    def values(found: re.Match[str]) -> str:
        shape = [int(size) for size in found[1].split(",")]
        numbers = rng.normal(size=shape) * 0.5
        if found[2] in ("w1", "b1", "scale", "shift"):
            numbers *= np.exp(spread * rng.normal(size=shape[0])).reshape(-1, *[1] * (len(shape) - 1))
        return f"{found[0]} = {{{', '.join(f'{number:.9g}' for number in numbers.ravel())}}}"

    return parse(re.sub(r"float\[([0-9, ]+)\] (\w+)(?=[,>])", values, text))


def arrays(graph: ir.Graph, count: int = 16, seed: int = 1) -> list[np.ndarray]:
    """Samples of one distribution, neighbours being alike, as in images."""
    rng = np.random.default_rng(seed)
    shape = [size for size in graph.inputs[0].shape or [] if isinstance(size, int)]
    mixed = rng.normal(size=(shape[0], shape[0])) if len(shape) == 3 else np.eye(shape[0])
    return [np.asarray(np.tensordot(mixed, rng.normal(size=shape), 1), np.float32) for _ in range(count)]


def seen_and_unseen(graph: ir.Graph) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Samples to calibrate on, and others."""
    everything = arrays(graph, 32)
    return everything[:16], everything[16:]


def pipeline(graph: ir.Graph, data: DataSet, *passes: Pass, target: str | None = None) -> tuple[ir.Graph, Context]:
    """A copy after these passes, one after the other as in a run."""
    found, ctx = graph.copy(), Context(target, data)
    for each in passes:
        ctx.current = each.pass_name()
        if isinstance(each, Quantize):
            ctx.keep(FloatModel.of(found))
        if each.run(found, ctx):
            ctx.forget()
            ir.sort(found)
    return found, ctx


def noise(graph: ir.Graph, quantized: ir.Graph, samples: Sequence[np.ndarray]) -> float:
    """Signal to noise of all outputs, dB."""
    feeds = {graph.inputs[0].name: np.stack(samples)}
    one, other = run(ir.to_proto(graph), feeds), run(ir.to_proto(quantized), feeds)
    return snr(np.concatenate([v.ravel() for v in one.values()]), np.concatenate([v.ravel() for v in other.values()]))


def gains(graph: ir.Graph, before: Sequence[Pass], after: Sequence[Pass], target: str | None = None) -> list[float]:
    """By how many dB a pipeline `after` is nearer to the float model than `before`: on data seen, and on other data."""
    seen, unseen = seen_and_unseen(graph)
    data = samples_for(graph, seen)
    one, two = (pipeline(graph, data, *passes, target=target)[0] for passes in (before, after))
    return [noise(graph, two, samples) - noise(graph, one, samples) for samples in (seen, unseen)]
