"""Take what passes written for graphsurgeon make into our classes: plain nodes and tensors, arrays as attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxopt.errors import BadModel
from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.links import Links
from onnxopt.ir.node import PLAIN, Node
from onnxopt.ir.schema import find_schema
from onnxopt.ir.tensor import Constant, Tensor, Variable, as_dtype
from onnxopt.ir.values import InlineValues, SparseValues, Values

_OURS = frozenset({Variable, Constant})


def adopt(graph: Graph) -> None:
    """Turn every plain graphsurgeon graph, function, node and tensor of a model into ours, in place.

    Their links stay. An array as an attribute becomes what the operator's schema asks for, a list or a tensor, and an
    empty list gets its type from there. Costs one walk; a graph that holds none of these is not touched.

    Raises:
        BadModel: A plain constant has its data in a file, which graphsurgeon has not read.
    """
    if not isinstance(graph, Graph):
        _become(graph, Graph)
    for function in graph.functions:
        _adopt_graph(function, Function, graph)
    for scope in every_graph(graph):
        for tensor in (*scope.inputs, *scope.outputs):
            _adopt_tensor(tensor)
        for node in scope.nodes:
            if node.__class__ is not Node:
                _adopt_node(node)
            for tensor in node.inputs:
                if tensor.__class__ not in _OURS:
                    _adopt_tensor(tensor)
            for tensor in node.outputs:
                if tensor.__class__ not in _OURS:
                    _adopt_tensor(tensor)
            if node.attrs:
                for name, value in node.attrs.items():
                    kind = value.__class__
                    if kind not in PLAIN and (kind is not list or not value or value[0].__class__ not in PLAIN):
                        _adopt_attribute(node, name, value, scope, graph)


def _adopt_node(node: Any) -> None:
    if isinstance(node, Node):
        return
    node.__class__ = Node
    node.name = node.name or ""
    _relink(node)


def _adopt_tensor(tensor: Any) -> None:
    if isinstance(tensor, Tensor):
        return
    if isinstance(tensor, gs.Constant):
        tensor.__class__ = Constant
        tensor._values = _own_values(tensor._values)
    else:
        tensor.__class__ = Variable
        tensor.dtype = as_dtype(tensor.dtype)
        tensor.shape = None if tensor.shape is None else list(tensor.shape)
    _relink(tensor)


def _own_values(values: Any) -> Any:
    """graphsurgeon's lazy values as ours, which are lossless for every element type."""
    if isinstance(values, Values) or not isinstance(values, LazyValues):
        return values
    if isinstance(values, gs.ir.tensor.SparseValues):
        return SparseValues(values.tensor)
    if values.tensor.external_data:
        raise BadModel(f"initializer '{values.tensor.name}' has external data; load the model from its file")
    return InlineValues(values.tensor)


def _relink(holder: Any) -> None:
    """Replace graphsurgeon's lists by ours, leaving the other ends of the links alone."""
    for field, other in (("inputs", "outputs"), ("outputs", "inputs")):
        links = Links(holder, other)
        list.extend(links, holder.__dict__[field])
        holder.__dict__[field] = links


def _adopt_attribute(node: Node, name: str, value: Any, scope: Graph, main: Graph) -> None:
    if isinstance(value, np.ndarray) or (isinstance(value, list) and not value):
        _settle(node, name, value, scope)
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, gs.Graph):
            _adopt_graph(item, Graph, main)
            # the opsets that the model imports hold, whatever the pass believed that made the subgraph by itself
            item.opset, item.import_domains = scope.opset, scope.import_domains
        elif isinstance(item, gs.Tensor):
            _adopt_tensor(item)


def _settle(node: Node, name: str, value: Any, scope: Graph) -> None:
    schema = find_schema(node.op, node.domain, scope.opset_of(node.domain))
    declared: Any = schema.attributes.get(name) if schema else None
    code = declared.type.value if declared else AttributeProto.UNDEFINED
    if not isinstance(value, np.ndarray):
        if code and name not in (node.attr_shells or {}):
            node.keep_shell(name, AttributeProto(name=name, type=code))
    elif code == AttributeProto.TENSOR or (not code and value.ndim != 1):
        node.attrs[name] = Constant("", value)
    else:
        node.attrs[name] = value.tolist()


def _adopt_graph(graph: Any, kind: type[Graph], main: Graph) -> None:
    if not isinstance(graph, kind):
        _become(graph, kind)
    if graph._functions is not main._functions:
        known = {function.unique_id[:2] for function in main._functions}
        main._functions += [function for function in graph._functions if function.unique_id[:2] not in known]
        graph._functions = main._functions


def _become(graph: Any, kind: type[Graph]) -> None:
    """Give a plain graph the fields that ours have beyond it."""
    known = dict(graph.__dict__)
    producer = known.pop("producer_name", ""), known.pop("producer_version", "")
    blank = kind(known["name"]) if issubclass(kind, Function) else kind()
    graph.__class__ = kind
    graph.__dict__.clear()
    graph.__dict__.update({**blank.__dict__, **known})
    if kind is Graph and any(producer):
        graph.producer_name, graph.producer_version = producer
