"""What `cancel-quantization` is tried on."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from onnxopt import ir
from onnxopt.passes.cancel_quantization import CancelQuantization
from tests.passes.checks import parse

CANCEL = CancelQuantization()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
WEIGHTS = """float s = {0.1}, uint8 z = {7}, int8 i = {7}, float s2 = {0.1}, uint8 z2 = {7}, float other = {0.2},
    uint8 zero = {0}, float[3] sc = {0.1, 0.2, 0.3}, uint8[3] zc = {0, 1, 2}, int64[3] shape = {3, 2, 4},
    int64[1] one = {1}, int64[1] two = {2}"""

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32) * 20


def model(body: str, output: str = "float[a, b, c] y", head: str = HEAD) -> ir.Graph:
    return parse(f"{head} g (float[2, 3, 4] x) => ({output}) <{WEIGHTS}> {{ {body} }}")


def quantized(between: str) -> ir.Graph:
    """Q -> DQ -> what is between `d` and `m` -> Q -> DQ."""
    return model(f"""
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) {between}
        p = QuantizeLinear (m, s2, z2) y = DequantizeLinear (p, s2, z2)
    """)


def pair(scale: np.ndarray, zero: np.ndarray, opset: int = 21) -> ir.Graph:
    """q -> DQ -> Q -> q, of integers that come in."""
    code = helper.np_dtype_to_tensor_dtype(zero.dtype)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("QuantizeLinear", ["d", "s", "z"], ["p"]),
            helper.make_node("Transpose", ["p"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("q", code, ["n"])],
        [helper.make_tensor_value_info("y", code, ["n"])],
        [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(zero, "z")],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))
