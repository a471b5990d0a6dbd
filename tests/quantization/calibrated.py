"""Graphs and data for the tests of calibration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxopt import ir
from onnxopt.data import DataSet, inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.request import Request
from tests.passes.checks import parse

UINT8 = Integer("uint8", symmetric=False)
INT8 = Integer("int8", symmetric=True)

CONVOLUTION = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, 8, 8] x) => (float[N, 3, 8, 8] y)
  <float[3, 2, 1, 1] w = {1, 2, -1, 0.5, -1, -1}> { c = Conv(x, w) y = Relu(c) }"""
"""Of positive inputs the last channel of y is always 0."""


def convolution() -> ir.Graph:
    """A Conv and a Relu."""
    return parse(CONVOLUTION)


def images(count: int = 12, seed: int = 0) -> list[np.ndarray]:
    """Positive ones."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.gamma(2, 1, (2, 8, 8)), np.float32) for _ in range(count)]


def samples_for(graph: ir.Graph, arrays: list[np.ndarray]) -> DataSet:
    """The arrays as samples for the only input."""
    (spec,) = inputs_of(ir.to_proto(graph, max_inline=0))

    def samples() -> Iterator[dict[str, np.ndarray]]:
        return ({spec.name: array} for array in arrays)

    return data_set("samples", [spec], samples, len(arrays))


def requests(*names: str, integer: Integer = UINT8, axis: int | None = None) -> list[Request]:
    """One for each name."""
    return [Request(name, integer, axis) for name in names]
