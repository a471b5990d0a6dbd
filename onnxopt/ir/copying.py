"""Complete copies of graphs and functions; weights are shared, since nobody writes into them in place."""

from __future__ import annotations

from typing import TypeVar

from onnx import ModelProto, OperatorSetIdProto

from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.importer import gc_paused
from onnxopt.ir.node import copy_attribute
from onnxopt.ir.tensor import Constant, Tensor

G = TypeVar("G", bound=Graph)


def copy_graph(graph: Graph, tensor_map: dict[Tensor, Tensor] | None = None) -> Graph:
    """A copy of a graph; of a main graph also its functions. Outer tensors come from `tensor_map`, else are shared."""
    with gc_paused():
        twin = _copy_into(graph, Graph(), {} if tensor_map is None else tensor_map)
        if tensor_map is None:
            twin._functions = [copy_function(function) for function in graph.functions]
            for scope in every_graph(twin):
                scope._functions = twin._functions
        return twin


def copy_function(function: Function) -> Function:
    """A copy of one local function."""
    attrs = {name: copy_attribute(value, None) for name, value in function.attrs.items()}
    twin = Function(function.name, function.domain, attrs=attrs, overload=function.overload)
    twin.attr_shells, twin.header = function.attr_shells, function.header
    return _copy_into(function, twin, {})


def _copy_into(graph: Graph, twin: G, tensors: dict[Tensor, Tensor]) -> G:
    for field in ("name", "doc_string", "opset", "ir_version", "name_idx", "__name__"):
        setattr(twin, field, getattr(graph, field))
    if graph.import_domains is not None:
        twin.import_domains = [OperatorSetIdProto.FromString(e.SerializeToString()) for e in graph.import_domains]
    twin.metadata_props = dict(graph.metadata_props)
    twin.model = ModelProto.FromString(graph.model.SerializeToString())
    twin.shell = graph.shell
    twin.listed, twin.stray_infos = dict(graph.listed), list(graph.stray_infos)
    twin.quantization_annotation = list(graph.quantization_annotation)

    def own(tensor: Tensor) -> Tensor:
        """The copy of a tensor; a variable that is neither of this graph nor in the map is an outer one, and shared."""
        if tensor not in tensors:
            if tensor.name and not isinstance(tensor, Constant):
                return tensor
            tensors[tensor] = tensor.copy()
        return tensors[tensor]

    for tensor in (*graph.inputs, *(out for node in graph.nodes for out in node.outputs)):
        tensors[tensor] = tensor.copy()
    for node in graph.nodes:
        inputs = [own(tensor) for tensor in node.inputs]
        twin.nodes.append(node.copy(inputs, [own(tensor) for tensor in node.outputs], tensors))
    twin.inputs = [own(tensor) for tensor in graph.inputs]
    twin.outputs = [own(tensor) for tensor in graph.outputs]
    twin.constants = [constant for tensor in graph.constants if isinstance(constant := own(tensor), Constant)]
    twin.unused = {constant for tensor in graph.unused if isinstance(constant := own(tensor), Constant)}
    twin.output_infos = {own(tensor): info for tensor, info in graph.output_infos.items()}
    return twin
