"""graphsurgeon's `Graph.layer`, at a cost that does not grow with the graph."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxopt.ir.graph import Graph
from onnxopt.ir.links import Links
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable


class _Names:
    """The names of a graph as of a number of nodes; built again when somebody else changed that number."""

    def __init__(self, graph: Graph) -> None:
        self.taken = {tensor.name for tensor in (*graph.inputs, *graph.outputs, *graph.constants)}
        for node in graph.nodes:
            self.taken.update((node.name, *(tensor.name for tensor in (*node.inputs, *node.outputs))))
        self.nodes = len(graph.nodes)


_NAMES: weakref.WeakKeyDictionary[Graph, _Names] = weakref.WeakKeyDictionary()


def layer(graph: Graph, inputs: Any = None, outputs: Any = None, *args: Any, **options: Any) -> Links:
    """Make a node at the end of `graph` and return its outputs; see `Graph.layer`."""
    names = _NAMES.get(graph)
    if names is None or names.nodes != len(graph.nodes):
        names = _NAMES[graph] = _Names(graph)
    ins = _tensors(graph, () if inputs is None else inputs, names)
    outs = _tensors(graph, () if outputs is None else outputs, names)
    options.setdefault("name", _fresh(graph, "onnx_graphsurgeon_node", names))
    node = Node(*args, **{**options, "inputs": ins, "outputs": outs})
    graph.nodes.append(node)
    names.nodes += 1
    return node.outputs


def _tensors(graph: Graph, items: Iterable[Any], names: _Names) -> list[Tensor]:
    found: list[Tensor] = []
    for item in items:
        if isinstance(item, gs.Tensor):
            names.taken.add(item.name)
            found.append(item)
        elif isinstance(item, str):
            found.append(Variable(_fresh(graph, item, names)))
        elif isinstance(item, (np.ndarray, np.generic)):
            found.append(Constant(_fresh(graph, "onnx_graphsurgeon_constant", names), np.asarray(item)))
        else:
            numbers = item if isinstance(item, (list, tuple)) else (item,)
            if not all(isinstance(number, (int, float, np.generic)) for number in numbers):
                raise TypeError(f"Graph.layer takes tensors, names, arrays and numbers, not {type(item).__name__}")
            dtype = np.float32 if any(isinstance(number, (float, np.floating)) for number in numbers) else np.int64
            name = _fresh(graph, "onnx_graphsurgeon_lst_constant", names)
            found.append(Constant(name, np.array(item, dtype)))
    return found


def _fresh(graph: Graph, prefix: str, names: _Names) -> str:
    while True:
        name = f"{prefix}_{graph.name_idx}"
        graph.name_idx += 1
        if name not in names.taken:
            names.taken.add(name)
            return name
