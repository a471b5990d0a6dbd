"""Shapes that cannot be otherwise: what follows from the model's inputs, its initializers and its operators."""

from __future__ import annotations

from onnx import TypeProto

from onnxopt.errors import BadModel
from onnxopt.ir.dtypes import to_onnx
from onnxopt.ir.graph import Graph
from onnxopt.ir.shapes import declaration
from onnxopt.ir.skeleton import Skeleton, paired
from onnxopt.ir.tensor import Tensor, Variable


def proven_types(graph: Graph) -> dict[Tensor, TypeProto]:
    """Types of the tensors of the main graph and its subgraphs whose dimensions are all known numbers.

    onnxruntime lets nobody feed another shape than an input declares, so that declaration counts. Every other one may
    be stale and does not: not that of an inner value, an output, a body's input, or of what an operator gives that
    onnx does not know. Nothing is proven for a model that onnx cannot infer.
    """
    skeleton = Skeleton(graph)
    for scope, proto in paired(graph, skeleton.model.graph):
        del proto.value_info[:]
        for info in (*proto.output, *(() if scope is graph else proto.input)):
            if info.type.HasField("tensor_type"):
                info.type.tensor_type.ClearField("shape")
    for function in skeleton.model.functions:
        del function.value_info[:]
    try:
        found = skeleton.infer().facts
    except BadModel:
        return {}
    found.update((tensor, declaration(tensor)) for tensor in graph.inputs if isinstance(tensor, Variable))
    types = {}
    for tensor, facts in found.items():
        if facts.kind == "tensor_type" and facts.shape is not None and facts.dtype is not None:
            dims = [dim for dim in facts.shape if isinstance(dim, int) and dim >= 0]
            if len(dims) == len(facts.shape):
                types[tensor] = _tensor_type(to_onnx(facts.dtype), dims)
    return types


def _tensor_type(code: int, dims: list[int]) -> TypeProto:
    out = TypeProto()
    out.tensor_type.elem_type = code
    out.tensor_type.shape.SetInParent()
    for dim in dims:
        out.tensor_type.shape.dim.add(dim_value=dim)
    return out
