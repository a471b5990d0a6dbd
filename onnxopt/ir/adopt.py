"""Take graphsurgeon's own objects, which a pass written for it makes, into our classes."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.links import Links
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable, as_dtype


def adopt(graph: Graph) -> None:
    """Turn every plain graphsurgeon node, tensor, subgraph and function of a model into ours, in place.

    Their links stay. Costs one walk; a graph that holds none is not touched.
    """
    for function in graph.functions:
        if not isinstance(function, Function):
            _become(function, Function, graph)
    for scope in every_graph(graph):
        for tensor in (*scope.inputs, *scope.outputs):
            _adopt_tensor(tensor)
        for node in scope.nodes:
            if not isinstance(node, Node):
                _adopt_node(node)
            for tensor in (*node.inputs, *node.outputs):
                if not isinstance(tensor, Tensor):
                    _adopt_tensor(tensor)
            for value in node.attrs.values():
                if isinstance(value, gs.Graph) and not isinstance(value, Graph):
                    _become(value, Graph, graph)
                elif isinstance(value, gs.Tensor):
                    _adopt_tensor(value)


def _adopt_node(node: Any) -> None:
    node.__class__ = Node
    node.name = node.name or ""
    _relink(node)


def _adopt_tensor(tensor: Any) -> None:
    if isinstance(tensor, Tensor):
        return
    if isinstance(tensor, gs.Constant):
        tensor.__class__ = Constant
    else:
        tensor.__class__ = Variable
        tensor.dtype = as_dtype(tensor.dtype)
        tensor.shape = None if tensor.shape is None else list(tensor.shape)
    _relink(tensor)


def _relink(holder: Any) -> None:
    """Replace graphsurgeon's lists by ours, leaving the other ends of the links alone."""
    for field, other in (("inputs", "outputs"), ("outputs", "inputs")):
        links = Links(holder, other)
        list.extend(links, holder.__dict__[field])
        holder.__dict__[field] = links


def _become(graph: Any, kind: type[Graph], main: Graph) -> None:
    """Give a plain graph the fields that ours have beyond it."""
    blank = Function(graph.name) if kind is Function else Graph()
    known = dict(graph.__dict__)
    graph.__class__ = kind
    graph.__dict__.clear()
    graph.__dict__.update(blank.__dict__)
    graph.__dict__.update({name: value for name, value in known.items() if not name.startswith("producer_")})
    graph._functions = main.functions
