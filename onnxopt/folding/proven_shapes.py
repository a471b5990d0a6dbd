"""Shapes that cannot be otherwise: what follows from the model's inputs, its initializers and its operators."""

from __future__ import annotations

import math
from collections.abc import Iterable

from onnx import ModelProto, TypeProto, shape_inference

from onnxopt.folding.facts import Facts, static_dims
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.proven import Dim, Dims, ProvenShapes
from onnxopt.ir.skeleton import Skeleton, paired
from onnxopt.ir.tensor import Constant, Tensor

_PROPAGATE = frozenset(
    {"Add", "Cast", "Concat", "Gather", "Mul", "Shape", "Size", "Slice", "Squeeze", "Sub", "Unsqueeze"}
)
"""Operators through which onnx follows the values of shapes."""
_ELEMENTS = 1 << 20
"""onnx takes every value of rank 1 that such an operator reads for a shape, and makes a dimension of each element (76
bytes and 0.6 microseconds). Where they may have more elements in all, values are not followed."""
_KEEP = frozenset({"Cast", "Identity", "Neg", "Reshape", "Slice", "Squeeze", "Unsqueeze"})
"""Operators whose result has no more elements than their first input."""
_PAIR = frozenset({"Add", "And", "Div", "Equal", "Gather", "Greater", "Less", "Mod", "Mul", "Or", "Sub", "Where"})
"""Operators whose result has at most the product of the elements of their inputs."""


def answer(questions: list[Tensor], graph: Graph, rules: ProvenShapes, facts: Facts) -> None:
    """Put into `facts` the shapes asked for, as far as they are certain.

    Our own rules answer most at the cost of one sweep. onnx's inference costs two exports and grows faster than the
    graph; it is asked only about what depends on no dimension that the caller is free to choose.
    """
    if not questions:
        return
    facts.certain = lambda tensor: _complete(rules.shape(tensor))
    facts.shapes.update((tensor, dims) for tensor in questions if (dims := _complete(rules.shape(tensor))) is not None)
    left = [tensor for tensor in questions if tensor not in facts.shapes]
    open_ = [tensor for tensor in left if not _is_for_the_caller(rules.dims(tensor))]
    if open_ and not _depends_on_the_caller(graph, rules).issuperset(open_):
        facts.types.update(proven_types(graph))


def _is_for_the_caller(dims: Dims | None) -> bool:
    """Whether the dimensions that the caller chooses decide over all of a shape: then it is not one shape."""
    return dims is not None and not any(isinstance(dim, Dim) and dim.of_data for dim in dims)


def _complete(shape: tuple[int | None, ...] | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    dims = tuple(dim for dim in shape if dim is not None)
    return dims if len(dims) == len(shape) else None


def _depends_on_the_caller(graph: Graph, rules: ProvenShapes) -> set[Tensor]:
    """Tensors whose shape may follow from a symbolic dimension of an input; those in bodies read what flows in."""
    found = {tensor for tensor in graph.inputs if _complete(rules.shape(tensor)) is None}
    for scope in (graph, *graph.subgraphs(recursive=True)):
        if scope is not graph:
            found.update(scope.inputs)
        for node in scope.nodes:
            if any(tensor in found for tensor in node.inputs):
                found.update(tensor for tensor in node.outputs if _complete(rules.shape(tensor)) is None)
    return found


def proven_types(graph: Graph) -> dict[Tensor, TypeProto]:
    """Types of the tensors of the main graph and its subgraphs whose dimensions are all known numbers.

    onnxruntime lets nobody feed another shape than an input declares, so that declaration counts. Every other one may
    be stale and does not: not that of an inner value, an output, a body's input, or of what an operator gives that
    onnx does not know. Nothing is proven for a model that onnx cannot infer.
    """
    model = Skeleton(graph).model
    for scope, proto in paired(graph, model.graph):
        del proto.value_info[:]
        for info in (*proto.output, *(() if scope is graph else proto.input)):
            if info.type.HasField("tensor_type"):
                info.type.tensor_type.ClearField("shape")
    for function in model.functions:
        del function.value_info[:]
    types = _infer(graph, model, follow=False)
    if _may_follow(graph, types):
        types = _infer(graph, model, follow=True)
    return {tensor: known for tensor, known in types.items() if static_dims(known) is not None}


def _infer(graph: Graph, model: ModelProto, *, follow: bool) -> dict[Tensor, TypeProto]:
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=follow)
    except Exception:  # noqa: BLE001 - whatever onnx throws at an odd model, it proves nothing
        return {}
    found: dict[Tensor, TypeProto] = {}
    for scope, proto in paired(graph, inferred.graph):
        types = {info.name: info.type for info in (*proto.value_info, *proto.input, *proto.output)}
        for tensor in _values(scope):
            if tensor.name in types and types[tensor.name].tensor_type.elem_type:
                found[tensor] = types[tensor.name]
    return found


def _values(scope: Graph) -> Iterable[Tensor]:
    yield from scope.inputs
    for node in scope.nodes:
        yield from node.outputs


def _may_follow(graph: Graph, types: dict[Tensor, TypeProto]) -> bool:
    """Whether the values of rank 1 that would be taken for shapes are few, whatever their lengths turn out to be."""
    bounds: dict[Tensor, float] = {}
    total = 0.0
    for scope in (graph, *graph.subgraphs(recursive=True)):
        for node in scope.nodes:
            sizes = [_bound(tensor, types, bounds) for tensor in node.inputs]
            if node.is_standard and node.op in _PROPAGATE:
                total += sum(
                    size for tensor, size in zip(node.inputs, sizes, strict=True) if _rank(tensor, types) in (None, 1)
                )
            for tensor in node.outputs:
                bounds[tensor] = _result(node, sizes)
    return total <= _ELEMENTS


def _rank(tensor: Tensor, types: dict[Tensor, TypeProto]) -> int | None:
    if isinstance(tensor, Constant):
        return len(tensor.shape)
    known = types.get(tensor)
    return len(known.tensor_type.shape.dim) if known is not None and known.tensor_type.HasField("shape") else None


def _bound(tensor: Tensor, types: dict[Tensor, TypeProto], bounds: dict[Tensor, float]) -> float:
    """Elements of a tensor, at most."""
    if isinstance(tensor, Constant):
        return float(math.prod(tensor.shape))
    dims = static_dims(types[tensor]) if tensor in types else None
    if dims is not None:
        return float(math.prod(dims))
    return bounds.get(tensor, math.inf) if tensor.name else 0.0


def _result(node: Node, sizes: list[float]) -> float:
    if not node.is_standard or not sizes:
        return math.inf
    if node.op == "Shape":
        return 64.0  # dimensions; few tensors have more than eight
    if node.op in _KEEP:
        return sizes[0]
    if node.op == "Concat":
        return sum(sizes)
    return math.prod(sizes) if node.op in _PAIR else math.inf
