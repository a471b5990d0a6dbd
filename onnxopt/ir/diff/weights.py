"""What differs between the weights of two scopes, and by how much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnxopt.ir.diff.changes import Kind, WeightDiff
from onnxopt.ir.diff.correspondence import Correspondence
from onnxopt.ir.diff.delta import delta, same_content
from onnxopt.ir.graph import Graph
from onnxopt.ir.homes import Homes
from onnxopt.ir.operands import constant_type, remarks, tensor_data
from onnxopt.ir.tensor import Constant, Variable


def weights_of(graph: Graph, homes: Homes) -> list[Constant]:
    """The initializers that are written in a scope, and the default values of its inputs."""
    inputs = (tensor.default for tensor in graph.inputs if isinstance(tensor, Variable))
    return [*homes.initializers(graph), *(default for default in inputs if default is not None)]


def weight_diffs(a: Iterable[Constant], b: Iterable[Constant], pairs: Correspondence) -> Iterator[WeightDiff]:
    """Weights that are gone, have other content or remarks, have another name, or are new."""
    matched = set()
    for one in a:
        other = pairs.tensors.get(one)
        if isinstance(other, Constant):
            matched.add(other)
            yield from _paired(one, other)
        else:
            yield WeightDiff(Kind.REMOVED, one.name, weight_text(one), None)
    for other in b:
        if other not in matched:
            yield WeightDiff(Kind.ADDED, other.name, None, weight_text(other))


def _paired(one: Constant, other: Constant) -> Iterator[WeightDiff]:
    was = one.name if one.name != other.name else None
    if not same_content(one, other):
        yield WeightDiff(Kind.CHANGED, other.name, weight_text(one), weight_text(other), was, delta(one, other))
    elif remarks(one) != remarks(other):
        yield WeightDiff(Kind.CHANGED, other.name, weight_text(one), weight_text(other), was)
    elif was is not None:
        yield WeightDiff(Kind.RENAMED, other.name, weight_text(one), weight_text(other), was)


def weight_text(constant: Constant) -> str:
    """`float[2] {1, 2}`, `float[64,3,3,3] 475e2ccce553`."""
    data, notes = tensor_data(constant)
    return "; ".join([" ".join([constant_type(constant), *([data] if data != "{...}" else notes)]), *remarks(constant)])
