"""Models of as many nodes as asked for, with what large exports are made of.

A long chain of blocks, each with weights that others share, Constant nodes, Identity and Dropout, a subexpression that
is computed twice, a chain that computes a shape, arithmetic on constants, a branch that nobody reads, and a read of one
tensor that every block reads; every 50th block holds an If whose branches read values from around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

WIDTH = 32
"""Features; an activation is float32 [batch, WIDTH]."""
_WEIGHTS = 64
"""Matrices, shared by all blocks."""
_IF_EVERY = 50
_LARGEST_BLOCK = 60
"""No block has more nodes."""


def large_model(nodes: int) -> ModelProto:
    """A model of exactly `nodes` nodes, those in subgraphs included; input `x` [batch, WIDTH], output `y` the same."""
    rng = np.random.default_rng(0)
    builder = _Builder()
    builder.node("Sigmoid", ["x"], "gate")  # read by every block
    value, block = "x", 0
    while builder.count + _LARGEST_BLOCK < nodes:
        value = _block(builder, block, value)
        block += 1
    while builder.count + 1 < nodes:
        value = builder.node("Relu", [value])
    builder.node("Identity", [value], "y")
    weights = [
        *(_float(f"w{number}", rng.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5) for number in range(_WEIGHTS)),
        *(_float(f"b{number}", rng.normal(size=WIDTH) / 10) for number in range(_WEIGHTS)),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([-1], np.int64), "minus_one"),
    ]
    graph = helper.make_graph(builder.nodes, f"synthetic_{nodes}", [_info("x")], [_info("y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def count_nodes(graph: GraphProto) -> int:
    """The nodes of a graph and its subgraphs."""
    return sum(1 + sum(count_nodes(attribute.g) for attribute in node.attribute) for node in graph.node)


@dataclass
class _Builder:
    """Nodes of one graph, and how many there are with those of its subgraphs."""

    prefix: str = ""
    nodes: list[NodeProto] = field(default_factory=list)
    count: int = 0

    def node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Append a node of one output; return its name."""
        output = output or f"{self.prefix}{op}_{self.count}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], f"{self.prefix}{op}_{self.count}", **attributes))
        self.count += 1
        return output

    def constant(self, values: object, dtype: type[np.generic]) -> str:
        """Append a Constant node."""
        return self.node("Constant", [], value=numpy_helper.from_array(np.array(values, dtype)))


def _block(builder: _Builder, number: int, value: str) -> str:
    node, constant, start = builder.node, builder.constant, value
    weight = number * 7 % _WEIGHTS
    value = node("Add", [node("MatMul", [value, f"w{weight}"]), f"b{weight}"])
    value = node("Identity", [node("Relu", [value])])
    value = node("Mul", [value, constant([0.5 + number % 3 / 8], np.float32)])
    value = node("Dropout", [value])
    twice = [node("Tanh", [node("Add", [value, "gate"])]) for _ in range(2)]  # the same, computed twice
    value = node("Mul", [twice[0], node("Sigmoid", [twice[1]])])
    value = _reshaped(builder, value)
    folded = node("Mul", [constant([0.25], np.float32), constant([number % 5], np.float32)])
    folded = node("Cast", [node("Sqrt", [folded])], to=TensorProto.FLOAT)
    value = node("Add", [value, folded])
    for _ in range(2):  # nobody reads these
        node("Exp", [node("Neg", [node("Identity", [value])])])
    wide = node("Concat", [value, node("Transpose", [node("Transpose", [start], perm=[1, 0])], perm=[1, 0])], axis=1)
    left = node("Slice", [wide, constant([0], np.int64), constant([WIDTH], np.int64), constant([1], np.int64)])
    value = node("Add", [left, start])
    value = node("Div", [value, constant([2], np.float32)])
    return _if(builder, number, value) if number % _IF_EVERY == _IF_EVERY - 1 else value


def _reshaped(builder: _Builder, value: str) -> str:
    """Flatten to the batch size, the way exporters write it."""
    node = builder.node
    batch = node("Gather", [node("Shape", [value]), builder.constant(0, np.int64)], axis=0)
    shape = node("Concat", [node("Unsqueeze", [batch, "zero"]), "minus_one"], axis=0)
    return node("Reshape", [value, shape])


def _if(builder: _Builder, number: int, value: str) -> str:
    node = builder.node
    positive = node("Greater", [node("ReduceSum", [value], keepdims=0), builder.constant(0, np.float32)])
    branches: dict[str, Any] = {}
    for name in ("then_branch", "else_branch"):
        inner = _Builder(f"{name}_{number}_")
        ends = [inner.node("Tanh", [inner.node("Identity", [value])]) for _ in range(2)]
        inner.node("Mul", [inner.node("Add", ends), inner.constant([0.5], np.float32)], f"{name}_{number}")
        branches[name] = _graph(inner, f"{name}_{number}")
        builder.count += inner.count
    return node("If", [positive], **branches)


def _graph(builder: _Builder, output: str) -> GraphProto:
    return helper.make_graph(builder.nodes, output, [], [_info(output)])


def _info(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH])


def _float(name: str, values: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)
