"""A model with a gigabyte of external weights: python benchmarks/heavy_model.py FOLDER [LAYERS].

16 convolutions, a transformer-like stack of MatMuls and a Gemm: some 400 tensors of 2 KB to 9 MB in one data file. O1
finds a little to do: Constant nodes, Identities, weights behind a Transpose, subexpressions computed twice, dead ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

WIDTH, HIDDEN, CHANNELS = 768, 3072, 512
GIBIBYTE = 1 << 30
_LAYERS = 32
_CONVS = 16


class _Writer:
    """Appends nodes to a list, and weights to the data file."""

    def __init__(self, data: Path, gain: float) -> None:
        self.data = data
        self.gain = gain
        self.file = data.open("wb")
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[TensorProto] = []

    def weight(self, *shape: int) -> str:
        """Append random weights that keep the size of what passes through them."""
        name = f"weight_{len(self.weights)}"
        count, fan_in = int(np.prod(shape)), shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        scale = np.float32(self.gain if len(shape) == 2 else 1) / np.float32(fan_in) ** 0.5
        raw = (self.rng.standard_normal(count, np.float32) * scale).tobytes()
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.data.name), ("offset", self.file.tell()), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        self.file.write(raw)
        self.weights.append(tensor)
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output; return the output's name."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def constant(self, values: object, dtype: type[np.generic]) -> str:
        """Append a Constant node."""
        return self.node("Constant", value=numpy_helper.from_array(np.array(values, dtype)))


def write(folder: Path, layers: int = _LAYERS, gain: float = 1.0) -> Path:
    """Write `heavy.onnx` and `heavy.data` of a gibibyte (less with fewer layers); return the model's path.

    With a `gain` below 1 on the matrices, the residual branches stay small. Otherwise every layer doubles what passes
    through, and after some fifty the last bit of the input decides the output.
    """
    writer = _Writer(folder / "heavy.data", gain)
    value = "image"
    for _ in range(min(_CONVS, layers)):
        conv = writer.node(
            "Conv", value, writer.weight(CHANNELS, CHANNELS, 3, 3), writer.weight(CHANNELS), pads=[1] * 4
        )
        value = writer.node("Identity", writer.node("Relu", conv))
    value = writer.node("Reshape", value, writer.constant([1, CHANNELS, 64], np.int64))
    value = writer.node("MatMul", writer.node("Transpose", value, perm=[0, 2, 1]), writer.weight(CHANNELS, WIDTH))
    for number in range(layers):
        value = _layer(writer, value, transposed=number % 4 == 0)
    value = writer.node("Reshape", value, writer.constant([64, WIDTH], np.int64))
    rest = GIBIBYTE - writer.file.tell() if layers == _LAYERS else 4 * (WIDTH + 1)
    classes = -(-rest // (4 * (WIDTH + 1)))
    value = writer.node("Gemm", value, writer.weight(WIDTH, classes), writer.weight(1, classes))
    writer.nodes.append(helper.make_node("ReduceMean", [value], ["scores"], "last", axes=[1]))
    writer.file.close()
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, CHANNELS, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [64, 1])
    graph = helper.make_graph(writer.nodes, "heavy", [image], [scores], writer.weights)
    path = folder / "heavy.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _layer(writer: _Writer, value: str, *, transposed: bool) -> str:
    """Gated mixing and a feed-forward block, both with a residual."""
    node, weight = writer.node, writer.weight
    mixed = [node("Add", node("MatMul", value, weight(WIDTH, WIDTH)), weight(WIDTH)) for _ in range(3)]
    gate = node("Mul", node("Sigmoid", mixed[0]), node("Sigmoid", mixed[1]))
    again = node("Mul", node("Sigmoid", mixed[0]), node("Sigmoid", mixed[1]))  # the same once more
    last = weight(WIDTH, WIDTH)
    last = node("Transpose", last, perm=[1, 0]) if transposed else last
    mixed_in = node("MatMul", node("Mul", node("Add", gate, again), mixed[2]), last)
    node("Exp", node("Neg", mixed_in))  # nobody reads it
    value = node("Add", value, node("Mul", mixed_in, writer.constant([0.5], np.float32)))
    hidden = node("Relu", node("Add", node("MatMul", value, weight(WIDTH, HIDDEN)), weight(HIDDEN)))
    return node("Add", value, node("Add", node("MatMul", hidden, weight(HIDDEN, WIDTH)), weight(WIDTH)))


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), *map(int, sys.argv[2:])))
