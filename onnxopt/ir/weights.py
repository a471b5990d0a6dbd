"""The tensors that a model's file holds, wherever the graph keeps them."""

from __future__ import annotations

from pathlib import Path

from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.tensor import Constant, Variable
from onnxopt.ir.values import MappedValues


def weights(graph: Graph) -> set[Constant]:
    """Initializers, defaults of inputs and tensors in attributes (Constant nodes) of every scope.

    An initializer that lost its last reader is not written, and is none of these.
    """
    found: set[Constant] = set()
    for scope in every_graph(graph):
        found |= scope.unused
        found.update(tensor for tensor in scope.outputs if isinstance(tensor, Constant))
        found.update(t.default for t in scope.inputs if isinstance(t, Variable) and t.default is not None)
        for node in scope.nodes:
            found.update(tensor for tensor in node.inputs if isinstance(tensor, Constant))
            for value in node.attrs.values():
                found.update(v for v in (value if isinstance(value, list) else (value,)) if isinstance(v, Constant))
    return found


def weight_files(graph: Graph) -> dict[Path, int]:
    """The files that hold weights of a graph as it was loaded, the model's own among them, and their bytes."""
    held = (constant._values for constant in weights(graph))
    return {values.file.path: values.file.size for values in held if isinstance(values, MappedValues)}
