"""The graph: graphsurgeon's classes with identity semantics, loaded and saved without loss, edited in O(uses)."""

from onnxopt.ir.adopt import adopt
from onnxopt.ir.costs import Costs, costs
from onnxopt.ir.diff import GraphDiff, diff, unified
from onnxopt.ir.edit import Edit, edit
from onnxopt.ir.exporter import to_proto
from onnxopt.ir.fingerprint import fingerprint
from onnxopt.ir.graph import Function, Graph, every_graph, every_node
from onnxopt.ir.importer import from_proto
from onnxopt.ir.load import load
from onnxopt.ir.node import Node
from onnxopt.ir.save import save
from onnxopt.ir.shapes import Inference, infer_shapes
from onnxopt.ir.sort import sort
from onnxopt.ir.sweep import sweep
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.ir.text import to_text

__all__ = [
    "Constant",
    "Costs",
    "Edit",
    "Function",
    "Graph",
    "GraphDiff",
    "Inference",
    "Node",
    "Tensor",
    "Variable",
    "adopt",
    "costs",
    "diff",
    "edit",
    "every_graph",
    "every_node",
    "fingerprint",
    "from_proto",
    "infer_shapes",
    "load",
    "save",
    "sort",
    "sweep",
    "to_proto",
    "to_text",
    "unified",
]
