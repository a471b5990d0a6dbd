"""The one sweep over a model that finds what is certain."""

from __future__ import annotations

from collections.abc import Container, Iterable

from onnxopt.ir.dtypes import DType
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.facts import Dims, Facts, Open, Vector
from onnxopt.ir.proven.rules import CONTROL_FLOW, SHAPE_RULES, WITHOUT_INPUTS, Rule
from onnxopt.ir.proven.seen import Seen, remember
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
        self._seen: dict[Node, Seen] = {}
        """What the rules were asked in this sweep, or before it in an earlier one."""

    def resume(self, earlier: Iterable[object]) -> None:
        """Ask the rules only about what has changed since the latest of earlier sweeps; the answers are the same."""
        found = [shapes for shapes in earlier if isinstance(shapes, ProvenShapes) and shapes._seen]
        if not found:
            return
        self._seen = found[-1]._seen
        if found[-1].nonempty != self.nonempty:
            self._seen = {node: seen for node, seen in self._seen.items() if not seen.asked}

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
            self._seen = self._sweep(self._found)
        return self._found

    def _sweep(self, facts: Facts) -> dict[Node, Seen]:
        if not isinstance(self._main, Function):
            for tensor in self._main.inputs:
                if isinstance(tensor, Variable) and tensor.type == "tensor_type" and tensor.default is None:
                    declared = _declared(tensor)
                    if declared is not None:
                        facts.shapes[tensor] = declared
        overridden = {function.name for function in self._main.functions if function.domain in DEFAULT_DOMAINS}
        roots = (self._main,) if isinstance(self._main, Function) else (self._main, *self._main.functions)
        walk = _Walk(facts, overridden, self._seen)
        for root in roots:
            walk.scope(root)
        return walk.seen


class _Walk:
    """One sweep over the scopes of a model."""

    def __init__(self, facts: Facts, overridden: Container[str], before: dict[Node, Seen]) -> None:
        self.facts, self.overridden, self.before = facts, overridden, before
        self.seen: dict[Node, Seen] = {}

    def scope(self, scope: Graph) -> None:
        facts = self.facts
        for node in scope.nodes:
            facts.opset = scope.opset
            rule = SHAPE_RULES.get(node.op)
            if rule is None or node.domain not in DEFAULT_DOMAINS or node.op in self.overridden:
                for body in node.subgraphs() if node.attrs else ():
                    self.scope(body)
                self._branch(node)
            elif node.outputs and (node.inputs or node.op in WITHOUT_INPUTS):
                seen = self.before.get(node)
                if seen is not None and seen.holds(node, facts):
                    seen.repeat(facts)
                else:
                    facts.asked = False
                    _apply(rule, node, facts)
                    seen = None if node.op == "Constant" else remember(node, facts)
                if seen is not None:
                    self.seen[node] = seen

    def _branch(self, node: Node) -> None:
        rule = CONTROL_FLOW.get(node.op) if node.is_standard and node.op not in self.overridden else None
        if rule is not None and node.outputs and node.inputs:
            _apply(rule, node, self.facts)


def _apply(rule: Rule, node: Node, facts: Facts) -> None:
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
