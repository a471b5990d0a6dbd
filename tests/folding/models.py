"""Small models for the tests of folding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from tests.passes.checks import parse

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
WITH_FUNCTION = '<ir_version: 10, opset_import: ["" : 21, "own" : 1, "com.microsoft" : 1]>'


def ops(graph: ir.Graph) -> list[str]:
    return [node.op for node in ir.every_node(graph)]


def constant(graph: ir.Graph, name: str) -> np.ndarray[Any, Any]:
    """The value of the constant that is called `name`, wherever it is read."""
    return next(t.read() for n in ir.every_node(graph) for t in n.inputs if t.name == name)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def body(nodes: str, constants: str = "", more: str = "") -> ir.Graph:
    """A model of x (float[2]) and the output y (float[2]), and the outputs in `more`."""
    initializers = f"<{constants}>" if constants else ""
    return parse(f"{HEAD} m (float[2] x) => (float[2] y{more}) {initializers} {{ {nodes} }}")


def op(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def model(
    nodes: list[onnx.NodeProto], constants: Mapping[str, np.ndarray[Any, Any]], *, rank: int = 1, opset: int = 21
) -> ir.Graph:
    """A model of x (float[2]) and the output y, floats (booleans in opset 7) of some rank."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT if opset > 7 else TensorProto.BOOL, [None] * rank)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))
