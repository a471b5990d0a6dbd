"""The one sweep over a model that finds what is certain."""

from __future__ import annotations

from collections.abc import Container

from onnxopt.ir.dtypes import DType
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.facts import Dims, Facts, Open, Vector
from onnxopt.ir.proven.rules import CONTROL_FLOW, SHAPE_RULES, WITHOUT_INPUTS
from onnxopt.ir.proven.vectors import VECTOR_RULES
from onnxopt.ir.tensor import Constant, Tensor, Variable

Shape = tuple[int | None, ...]
"""A number for each dimension, or None where it is not certain."""
_NAMELESS = ("", "?", "*", "-1", "None", "none", "unk", "unknown")
"""What exporters write for "any", of several dimensions that have nothing to do with each other."""


class ProvenShapes:
    """The certain shapes of a model, and the certain elements of its small vectors; one sweep when first asked for.

    A dimension that the caller chooses, or that data decide, is a `Dim`: two of them are equal only if they have the
    same value in every run. Values in a body are those of one run of it.
    """

    nonempty = False
    """Whether the model's inputs are assumed to have no dimension of 0."""

    def __init__(self, main: Graph) -> None:
        self._main = main
        self._found: Facts | None = None
        self._numbers: dict[Tensor, Shape] = {}

    def shape(self, tensor: Tensor) -> Shape | None:
        """The shape of a tensor, in numbers; None where not even the rank is certain."""
        if isinstance(tensor, Constant):
            return tuple(tensor.shape)
        found = self._numbers.get(tensor)
        if found is None:
            dims = self.dims(tensor)
            if dims is None:
                return None
            found = self._numbers[tensor] = tuple(dim if isinstance(dim, int) else None for dim in dims)
        return found

    def dims(self, tensor: Tensor) -> Dims | None:
        """The shape of a tensor, in numbers and expressions; None where not even the rank is certain."""
        return self._facts().dims_of(tensor)

    def elements(self, tensor: Tensor) -> Open | None:
        """The elements of an integer or boolean tensor of rank 0 or 1 that has at most 64.

        None where not even the number of elements is certain. Its rank is that of `dims`.
        """
        facts = self._facts()
        vector = facts.vectors.get(tensor)
        if vector is None and facts.may_follow(tensor):
            vector = facts.vector(tensor)
        if vector is None or vector.dtype.kind == "f":
            return None
        return vector.items  # type: ignore[return-value]

    def element_type(self, tensor: Tensor) -> DType | None:
        """The element type of a tensor of which `elements` tells something."""
        vector = self._facts().vector(tensor)
        return None if vector is None else vector.dtype

    def _facts(self) -> Facts:
        if self._found is None:
            self._found = Facts(self.nonempty)
            self._sweep(self._found)
        return self._found

    def _sweep(self, facts: Facts) -> None:
        if not isinstance(self._main, Function):
            for tensor in self._main.inputs:
                if isinstance(tensor, Variable) and tensor.type == "tensor_type" and tensor.default is None:
                    declared = _declared(tensor)
                    if declared is not None:
                        facts.shapes[tensor] = declared
        overridden = {function.name for function in self._main.functions if function.domain in DEFAULT_DOMAINS}
        roots = (self._main,) if isinstance(self._main, Function) else (self._main, *self._main.functions)
        for root in roots:
            _scope(root, facts, overridden)


def _scope(scope: Graph, facts: Facts, overridden: Container[str]) -> None:
    facts.opset = scope.opset
    for node in scope.nodes:
        rule = SHAPE_RULES.get(node.op)
        if rule is None or node.domain not in DEFAULT_DOMAINS or node.op in overridden:
            for body in node.subgraphs() if node.attrs else ():
                _scope(body, facts, overridden)
            rule = CONTROL_FLOW.get(node.op) if node.is_standard and node.op not in overridden else None
        if rule is None or not node.outputs or not (node.inputs or node.op in WITHOUT_INPUTS):
            continue
        found = rule(node, facts)
        if isinstance(found, tuple):
            _settle(node.outputs[0], found, facts)
        elif found is not None:
            for output, dims in zip(node.outputs, found, strict=False):
                if dims is not None:
                    _settle(output, dims, facts)
        follow = VECTOR_RULES.get(node.op)
        if follow is not None:
            _follow(node, follow(node, facts), facts)


def _declared(tensor: Variable) -> Dims | None:
    if tensor.shape is None:
        return None
    dims: list[int | Dim] = []
    for axis, dim in enumerate(tensor.shape):
        if isinstance(dim, int) and dim >= 0:
            dims.append(dim)
        else:
            named = isinstance(dim, str) and dim not in _NAMELESS
            dims.append(Dim.of("symbol", dim) if named else Dim.of("axis", tensor.name, axis))
    return tuple(dims)


def _settle(tensor: Tensor, dims: Open, facts: Facts) -> None:
    """What is not certain of a dimension is at least one number in each run, and gets a name."""
    if any(dim is None for dim in dims):
        dims = tuple(Dim.of("size", tensor, axis) if dim is None else dim for axis, dim in enumerate(dims))
    facts.shapes[tensor] = dims  # type: ignore[assignment]


def _follow(node: Node, found: Vector | list[Vector | None] | None, facts: Facts) -> None:
    for output, vector in zip(node.outputs, [found] if isinstance(found, Vector) else found or (), strict=False):
        if vector is None or len(vector.items) > 64:
            continue
        if facts.shapes.get(output) in ((len(vector.items),), () if len(vector.items) == 1 else None):
            facts.vectors[output] = vector


class ProvenShapesNonempty(ProvenShapes):
    """What is certain of every run in which no dimension of the model's inputs is 0."""

    nonempty = True
