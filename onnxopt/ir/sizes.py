"""Shapes in numbers: symbols bound, and what is open inferred."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from onnxopt.errors import BadOption
from onnxopt.ir import dtypes
from onnxopt.ir.graph import Graph
from onnxopt.ir.liveness import is_activation
from onnxopt.ir.shapes import bound, declaration, derive, merge
from onnxopt.ir.skeleton import Facts, is_open
from onnxopt.ir.tensor import Constant, Tensor, Variable


def bind(graph: Graph, dims: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Numbers for symbols, and what was assumed: the first axis of an input is 1 where nothing else is known.

    Raises:
        BadOption: `dims` names a dimension that the model does not have, or gives it a negative size.
    """
    known = {dim for tensor in _variables(graph) for dim in tensor.shape or () if isinstance(dim, str)} - {"?"}
    known |= {f"{tensor.name}[{axis}]" for tensor in graph.inputs for axis in _open_axes(tensor)}
    for name, size in dims.items():
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise BadOption(f"no dimension of the model is called '{name}'; those without a number: {has}")
        if size < 0:
            raise BadOption(f"dimension '{name}' cannot be {size}")
    sizes, assumptions = dict(dims), []
    for tensor in graph.inputs:
        first = tensor.shape[0] if isinstance(tensor, Variable) and tensor.shape else 1
        symbol = f"{tensor.name}[0]" if is_open(first) else first
        if isinstance(symbol, str) and symbol not in sizes:
            sizes[symbol] = 1
            assumptions.append(f"dimension {symbol} is 1")
    return sizes, assumptions


def _open_axes(tensor: Tensor) -> list[int]:
    shape = tensor.shape if isinstance(tensor, Variable) else None
    return [axis for axis, dim in enumerate(shape or ()) if is_open(dim)]


class Sizes:
    """The shapes and bytes of the values of a main graph and its subgraphs, at certain sizes of its symbols."""

    def __init__(self, graph: Graph, dims: Mapping[str, int]) -> None:
        self._graph = graph
        self._dims = dims
        self._facts: dict[Tensor, Facts] = {tensor: bound(declaration(tensor), dims) for tensor in _variables(graph)}
        for tensor in graph.inputs:
            facts = self._facts.get(tensor, Facts())
            if facts.shape is not None:
                numbers = [dims.get(f"{tensor.name}[{a}]", d) if d is None else d for a, d in enumerate(facts.shape)]
                self._facts[tensor] = facts._replace(shape=numbers)
        self._bytes: dict[Tensor, int | None] = {}

    def infer(self) -> None:
        """Let inference fill in what the declarations leave open, and correct them.

        Raises:
            BadModel: onnx cannot process the model at all.
        """
        found, _, derived = derive(self._graph, self._dims)
        self._facts.update(found)
        for tensor in (*self._graph.outputs, *(t for sub in self._graph.subgraphs(recursive=True) for t in sub.inputs)):
            if tensor in found:  # here the symbols that an interface declares give way to numbers
                self._facts[tensor] = merge(found[tensor], derived.facts.get(tensor, Facts()))
        self._bytes.clear()

    def suffice(self) -> bool:
        """Whether the shape of every tensor is known."""
        return all(
            facts.kind not in (None, "tensor_type")
            or (facts.dtype is not None and facts.shape is not None and all(type(dim) is int for dim in facts.shape))
            for facts in self._facts.values()
        )

    def shape(self, tensor: Tensor) -> tuple[int, ...] | None:
        """The shape of a tensor, where all of it is known."""
        if isinstance(tensor, Constant):
            return tuple(tensor.shape)
        shape = self._facts.get(tensor, Facts()).shape
        if shape is None:
            return None
        known = tuple(dim for dim in shape if isinstance(dim, int))
        return known if len(known) == len(shape) else None

    def bytes(self, tensor: Tensor) -> int | None:
        """The bytes of a value, where they are known: not those of sequences and strings."""
        if tensor not in self._bytes:
            facts, shape = self._facts.get(tensor, Facts()), self.shape(tensor)
            known = facts.dtype is not None and shape is not None and facts.kind in (None, "tensor_type")
            self._bytes[tensor] = (
                dtypes.stored_bytes(dtypes.to_onnx(facts.dtype), math.prod(shape or ())) if known else None
            )
        return self._bytes[tensor]

    def activations(self) -> Iterator[Tensor]:
        """Every value that takes memory at some time."""
        return (tensor for tensor in self._facts if is_activation(tensor))


def _variables(graph: Graph) -> Iterator[Variable]:
    for scope in (graph, *graph.subgraphs(recursive=True)):
        for tensor in (*scope.inputs, *(tensor for node in scope.nodes for tensor in node.outputs)):
            if tensor.name and isinstance(tensor, Variable):
                yield tensor
