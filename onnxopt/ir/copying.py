"""Complete copies of graphs and functions; weights are shared, since nobody writes into them in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from onnx import ModelProto, OperatorSetIdProto

from onnxopt.ir.adopt import adopt
from onnxopt.ir.collector import gc_paused
from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.node import copy_attribute
from onnxopt.ir.tensor import Constant, Tensor

G = TypeVar("G", bound=Graph)


def copy_graph(graph: Graph, tensor_map: dict[Tensor, Tensor] | None = None) -> Graph:
    """A copy of a graph; of a graph by itself (no `tensor_map`) also the functions.

    Outer tensors become what `tensor_map` says, and take the copies for readers; those that are not in it are copied.
    """
    if tensor_map is None:
        adopt(graph)
    with gc_paused():
        twin = _copy_into(graph, Graph(), {} if tensor_map is None else tensor_map)
        if tensor_map is None:
            twin._functions = [copy_function(function) for function in graph.functions]
            for scope in every_graph(twin):
                scope._functions = twin._functions
        return twin


def outer_tensors(graphs: Iterable[Graph]) -> dict[Tensor, Tensor]:
    """For copies of subgraphs that go beside the originals: the outer values and all constants stay what they are."""
    inner = {tensor for graph in graphs for tensor in graph.inputs}
    inner |= {tensor for graph in graphs for node in graph.nodes for tensor in node.outputs}
    read = {tensor for graph in graphs for node in graph.nodes for tensor in node.inputs if tensor.name}
    read |= {tensor for graph in graphs for tensor in graph.outputs}
    return {tensor: tensor for tensor in read - inner}


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
        if tensor not in tensors:
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
