"""What a pattern was found to be in a graph, as checks and rewrites see it."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.pattern.attributes import value_of
from onnxopt.ir.pattern.solver import Solver
from onnxopt.ir.pattern.terms import Computed, Term
from onnxopt.ir.proven import ProvenShapes, ints
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array


class Match:
    """`match[term]` is the tensor that a term of the pattern stands for."""

    def __init__(self, solver: Solver, root: Node, scope: Graph, edit: Edit, shapes: ProvenShapes) -> None:
        self.root = root
        self.scope = scope
        self.edit = edit
        self.shapes = shapes
        """Shapes that are certain."""
        self._solver = solver

    def __getitem__(self, term: Term) -> Tensor:
        return self._solver.tensors[term]

    def __contains__(self, term: Term) -> bool:
        """Whether a term is there: an optional one, or one in an alternative."""
        return term in self._solver.tensors

    @property
    def opset(self) -> int:
        """The opset of the scope."""
        return self.scope.opset

    @property
    def nodes(self) -> list[Node]:
        """The nodes that the pattern names, each once, the root first."""
        return list(dict.fromkeys(self._solver.nodes.values()))

    def node(self, term: Computed) -> Node:
        """The node that a term is computed by."""
        return self._solver.nodes[term.node]

    def attr(self, term: Computed, name: str) -> Any:
        """An attribute's value, or the operator's default.

        Raises:
            NoMatch: It is set by the caller of the function that holds the node.
        """
        return value_of(self.node(term), name, self.opset)[0]

    def ints(self, term: Computed, index: int, name: str) -> list[int] | None:
        """Integers that older opsets give as attribute `name` and newer ones as input `index`; None if absent.

        Raises:
            NoMatch: They are given, and not known.
        """
        node = self.node(term)
        found = ints(node, index, name)
        if found is None and (name in node.attrs or (index < len(node.inputs) and node.inputs[index].name)):
            raise NoMatch(f"the {name} of {node.label} are not known")
        return found

    def value(self, term: Term) -> Array:
        """The array that a constant holds, of at most 65,536 elements.

        Raises:
            NoMatch: It is larger, or no constant.
        """
        value = known_value(self[term])
        if value is None:
            raise NoMatch(f"the value of '{self[term].name}' is not known")
        return value

    def number(self, term: Term) -> float:
        """The one element of a constant.

        Raises:
            NoMatch: It has not one element, or is no constant.
        """
        value = self.value(term)
        if value.size != 1 or value.dtype.kind not in "fiuV":
            raise NoMatch(f"'{self[term].name}' is not one number")
        return float(value.reshape(-1)[0])

    def dtype(self, tensor: Tensor) -> DType:
        """The element type of a tensor.

        Raises:
            NoMatch: It is not certain: nothing declares it, or it is that of one of the calls of a function.
        """
        certain = isinstance(tensor, Constant) or not self._in_function
        dtype = tensor.dtype if certain else None
        if dtype is None and (value := known_value(tensor)) is not None:
            dtype = value.dtype
        if dtype is None:
            raise NoMatch(f"the element type of '{tensor.name}' is not known; infer-shapes may find it")
        return np.dtype(dtype)

    def shape(self, tensor: Tensor) -> tuple[int | None, ...]:
        """The shape of a tensor, None for each dimension that is not certain.

        Raises:
            NoMatch: Not even the rank is certain.
        """
        shape = self.shapes.shape(tensor)
        if shape is None and (value := known_value(tensor)) is not None:
            shape = value.shape
        if shape is None:
            raise NoMatch(f"the shape of '{tensor.name}' is not certain")
        return shape

    @property
    def _in_function(self) -> bool:
        return isinstance(self.scope, Function) or bool(self.edit.main.functions and self._inside_function())

    def _inside_function(self) -> bool:
        return any(
            self.scope is inner for function in self.edit.main.functions for inner in function.subgraphs(recursive=True)
        )
