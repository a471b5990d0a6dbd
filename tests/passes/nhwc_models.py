"""Models as converters from TensorFlow write them: values are NHWC, and each Conv stands between Transposes."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class Nhwc:
    """A model that grows layer by layer; every value between layers is [batch, height, width, channels]."""

    def __init__(self, *, opset: int = 17, quantized: bool = False) -> None:
        self.opset, self.quantized = opset, quantized
        self.rng = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.weights: list[Any] = []

    def node(self, op: str, inputs: list[str], **attrs: Any) -> str:
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], output + "_node", **attrs))
        return output

    def weight(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def in_nchw(self, op: str, inputs: list[str], **attrs: Any) -> str:
        """An operator that works on NCHW, between two Transposes."""
        before = self.node("Transpose", [inputs[0]], perm=TO_NCHW)
        return self.node("Transpose", [self.node(op, [before, *inputs[1:]], **attrs)], perm=TO_NHWC)

    def qdq(self, value: str) -> str:
        if not self.quantized:
            return value
        scale, zero = self.weight(0.05), self.weight(0, np.int8)
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [value, scale, zero]), scale, zero])

    def conv(self, value: str, channels: tuple[int, int], *, stride: int = 1, activation: str = "Relu") -> str:
        into, out = channels
        kernel = self.weight(self.rng.normal(size=(out, into, 3, 3)) / (3 * into**0.5))
        value = self.in_nchw("Conv", [self.qdq(value), kernel], pads=[1] * 4, strides=[stride] * 2)
        value = self.node("Add", [value, self.weight(self.rng.normal(size=out))])
        if activation == "Clip":
            return self.node("Clip", [value, self.weight(0.0), self.weight(6.0)])
        return self.node(activation, [value]) if activation else value

    def batch_norm(self, value: str, channels: int) -> str:
        return self.in_nchw(
            "BatchNormalization", [value, *(self.weight(np.full(channels, v)) for v in (1.5, 0.1, 0.2, 2.0))]
        )

    def block(self, value: str, channels: int) -> str:
        """A residual block with a pool beside it, joined by channels."""
        inner = self.conv(self.batch_norm(value, channels), (channels, channels))
        value = self.node("Add", [value, self.conv(inner, (channels, channels), activation="")])
        pooled = self.in_nchw("MaxPool", [value], kernel_shape=[3, 3], pads=[1] * 4)
        joined = self.node("Concat", [value, pooled], axis=3)
        padded = self.node("Pad", [joined, self.weight([0, 0, 1, 0, 0, 0, 1, 0], np.int64)])
        cut = self.node("Slice", [padded, *(self.weight(v, np.int64) for v in ([1], [-1], [2]))])
        return self.conv(cut, (2 * channels, channels), activation="Clip")


def nhwc_model(blocks: int, *, dynamic: bool = True, quantized: bool = False, size: int = 8) -> ModelProto:
    """A classifier: `image` [batch, size, size, 3] float32, `scores` [batch, 5]."""
    build = Nhwc(quantized=quantized)
    value = build.conv("image", (3, 4), stride=2)
    for _ in range(blocks):
        value = build.block(value, 4)
    value = build.node("ReduceMean", [value], axes=[1, 2], keepdims=0)
    value = build.node("MatMul", [value, build.weight(build.rng.normal(size=(4, 5)))])
    build.nodes.append(helper.make_node("Softmax", [value], ["scores"]))
    batch: int | str = "n" if dynamic else 2
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, size, size, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 5])
    graph = helper.make_graph(build.nodes, "nhwc", [image], [scores], build.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", build.opset)], ir_version=8)
