"""Small models for Qualcomm's libraries, among them those that crash them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

from onnxopt import ir
from onnxopt.backends.qnn.installed import missing
from onnxopt.backends.qnn.soc import find

needs_libraries = pytest.mark.skipif(bool(missing()), reason=missing() or "they are here")
SOC = find("SM8450").id
CRASHES_IN_VALIDATION = """g (float[1, 128, 1] x, int64 step, int64 length) => (float[1, 15, 9, 2] y) {
    y = STFT(x, step, , length)
}"""
"""As onnx's own test_stft."""
CRASHES_IN_RUN = """g (float[1, 64, 64, 64] x) => (float[1, 64, 64, 64] y) {
    y = AveragePool<auto_pad = "SAME_UPPER", kernel_shape = [2, 2]>(x)
}"""
"""As test_averagepool_2d_same_upper, of which one run in three survives: it reads past the end."""
WRONG = """g (float[1, 3, 28, 28] x) => (float[1, 3, 30, 30] y) {
    y = AveragePool<kernel_shape = [3, 3], pads = [2, 2, 2, 2]>(x)
}"""
"""As test_averagepool_2d_pads: it compiles and runs, and gives zeros."""
SMALL = """g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y, float[1, 4] z) {
    c = Conv<pads = [1, 1, 1, 1]>(x, w)
    y = Relu(c)
    p = GlobalAveragePool(y)
    z = Flatten(p)
}"""
REFUSED = """g (float[1, 4] x) => (float[1, 4] y) {
    a = Relu(x)
    [first] b = Acos(a)
    c = Exp(b)
    d = Celu(c)
    y = Add(d, x)
}"""
"""What is left of it makes three DLCs."""


def model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    """A model of opset 17 from its text and its weights."""
    found = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {text}')
    found.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    return found


def small(scale: float = 1.0) -> onnx.ModelProto:
    """A convolution, with weights that differ with the seed."""
    return model(SMALL, w=np.random.default_rng(0).normal(0, scale, (4, 3, 3, 3)).astype(np.float32))


def image(seed: int = 1) -> dict[str, np.ndarray]:
    """An input for it."""
    return {"x": np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)}


def graph(text: str) -> ir.Graph:
    """A graph from its text."""
    return ir.from_proto(model(text))


def symmetric() -> onnx.ModelProto:
    """A Clip at 0 whose result is int8 about 0, as quantizers with symmetric activations write it."""
    found = model(
        """g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
            xq = QuantizeLinear(x, s, z)
            xd = DequantizeLinear(xq, s, z)
            wd = DequantizeLinear(w, ws, z)
            c = Conv<pads = [1, 1, 1, 1]>(xd, wd)
            cq = QuantizeLinear(c, rs, z)
            cd = DequantizeLinear(cq, rs, z)
            r = Clip(cd, low, high)
            rq = QuantizeLinear(r, rs, z)
            y = DequantizeLinear(rq, rs, z)
        }""",
        w=np.random.default_rng(0).integers(-99, 99, (4, 3, 3, 3)).astype(np.int8),
        s=np.float32(4 / 127),
        ws=np.float32(0.002),
        rs=np.float32(6 / 127),
        z=np.int8(0),
        low=np.float32(0),
        high=np.float32(6),
    )
    onnx.checker.check_model(found)
    return found
