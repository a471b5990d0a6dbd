"""Models, samples, and the kits that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, parser

from onnxopt import ir
from onnxopt.data import DataSet, inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.data.layout import Sample
from onnxopt.pipeline.backend import Emission

Array = npt.NDArray[Any]

IMAGE = """g (float[N, 3, 4, 5] x) => (float[N, 2, 4, 5] y) {
    c = Conv<kernel_shape = [1, 1]>(x, w)
    y = Relu(c)
}"""
SEVERAL = """g (float[1, 2, 3, 4] image, int64[1, 3] ids, bool[1, 1] mask, float[1] scale) => (float[1, 2, 3, 4] y) {
    i = Cast<to = 1>(ids)
    m = Cast<to = 1>(mask)
    im = Mul(i, m)
    axes = Constant<value = int64[2] {0, 2}>()
    f = ReduceSum<keepdims = 0>(im)
    g = Mul(f, scale)
    y = Mul(image, g)
}"""
QUANTIZED = """g (float[1, 3, 4, 5] x) => (float[1, 2, 4, 5] y) {
    xq = QuantizeLinear(x, sx, zx)
    xd = DequantizeLinear(xq, sx, zx)
    wd = DequantizeLinear<axis = 0>(w, sw, zw)
    bd = DequantizeLinear(b, sb, zb)
    c_raw = Conv<kernel_shape = [1, 1]>(xd, wd, bd)
    cq = QuantizeLinear(c_raw, sc, zc)
    c = DequantizeLinear(cq, sc, zc)
    y = Tanh(c)
}"""


def model(text: str, opset: int = 17, **weights: Array) -> onnx.ModelProto:
    """A model from its text and its weights."""
    found = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]> {text}')
    found.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return found


def image() -> onnx.ModelProto:
    """One input with four axes, of which the batch is open."""
    return model(IMAGE, w=np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1))


def quantized(**changed: Array) -> onnx.ModelProto:
    """A convolution between Q and DQ, its weight per channel."""
    weights = {
        "sx": np.float32(0.5),
        "zx": np.uint8(3),
        "w": np.array([-127, 5, 127, 1, 0, -1], np.int8).reshape(2, 3, 1, 1),
        "sw": np.array([0.25, 0.5], np.float32),
        "zw": np.zeros(2, np.int8),
        "b": np.array([100, -100], np.int32),
        "sb": np.float32(0.125),
        "zb": np.int32(0),
        "sc": np.float32(1.5),
        "zc": np.uint8(128),
    }
    return model(QUANTIZED, **{name: np.asarray(value) for name, value in (weights | changed).items()})


def renamed(proto: onnx.ModelProto, names: Mapping[str, str]) -> onnx.ModelProto:
    """The model with tensors called otherwise: the text form has no such names."""
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = names.get(value.name, value.name)
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return proto


def samples_for(proto: onnx.ModelProto, samples: Sequence[Sample]) -> DataSet:
    """A data set of these samples."""

    def passing() -> Iterator[Sample]:
        return iter(samples)

    return data_set("the samples", inputs_of(proto), passing, len(samples))


def images(count: int) -> list[dict[str, Array]]:
    """Samples for `image` and `quantized`: no two numbers in them are the same."""
    numbers = np.arange(count * 60, dtype=np.float32) / 7 - 3
    return [{"x": each} for each in numbers.reshape(count, 3, 4, 5)]


def make(proto: onnx.ModelProto, data: DataSet, path: Path, options: str = "") -> Any:
    """Emit a kit; the artifact."""
    head = f"qnn-kit{{{options}}}" if options else "qnn-kit"
    return Emission.parse(f"{head}={path}").write(ir.from_proto(proto), {}, data)
