"""Match one pattern against the graph that ends in one node, trying commutative operators both ways.

The search goes back over its choices (the two orders of a commutative operator, the alternatives of `either`) and takes
at most `STEPS_PER_TERM` comparisons for each term of the pattern; then it gives up, with a reason. So it costs no more
than a constant for each candidate, whatever the graph around it: without the bound, k nested commutative operators
could be tried in 2**k ways.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.pattern.attributes import value_of
from onnxopt.ir.pattern.constants import is_same, why_not
from onnxopt.ir.pattern.terms import Computed, Either, Known, Omittable, Term, Value, every_term
from onnxopt.ir.tensor import Tensor

STEPS_PER_TERM = 100
COMMUTATIVE = frozenset(
    {"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Max", "Mean", "Min", "Mul", "Or", "Sum", "Xor"}
)
"""Of two operands; of Max, Min, Sum and Mean with more, only the order that the pattern gives is tried."""
Reason = Callable[[], str]


class Solver:
    """The search for one pattern at one root."""

    def __init__(self, root: Computed, opset: int, near: Sequence[Collection[str]], hidden: Collection[str]) -> None:
        self.root = root
        self.opset = opset
        self.tensors: dict[Term, Tensor] = {}
        """What each term stands for, in the solution at hand."""
        self.nodes: dict[Computed, Node] = {}
        """The node of each computed term."""
        self.steps = 0
        self.failure: Reason | None = None
        """Why the attempt that came furthest failed, where it was a near match."""
        self.depth = 0
        self._near = near
        self._hidden = hidden
        self._most = STEPS_PER_TERM * sum(1 for _ in every_term(root))

    def solutions(self, node: Node) -> Iterator[None]:
        """Each way in which the pattern fits with `node` as its root; the bindings hold until the next is asked for."""
        try:
            for output in node.outputs[self.root.index : self.root.index + 1]:
                yield from self._computed(self.root, output)
        except _TooManySteps:
            self.failure = lambda: f"gave up after {self._most} steps"

    def note(self, reason: Reason) -> None:
        """Remember why this attempt failed, if none that came as far did, and if it is a near match."""
        if len(self.nodes) > self.depth and self.is_near:
            self.depth, self.failure = len(self.nodes), reason

    def complete(self, reason: str) -> None:
        """A solution failed in a check: the nearest kind of near match."""
        if len(self.nodes) + 1 > self.depth:
            self.depth, self.failure = len(self.nodes) + 1, lambda: reason

    @property
    def is_near(self) -> bool:
        """Whether the operators that tell this pattern from others are there."""
        found = {term.op for term in self.nodes if term is not self.root.node}
        return all(not found.isdisjoint(group) for group in self._near)

    def _match(self, term: Term, tensor: Tensor) -> Iterator[None]:
        self.steps += 1
        if self.steps > self._most:
            raise _TooManySteps
        if isinstance(term, Computed):
            return self._computed(term, tensor)
        if isinstance(term, Either):
            return self._either(term, tensor)
        if isinstance(term, Omittable):
            return self._match(term.term, tensor)
        assert isinstance(term, (Known, Value))
        return self._leaf(term, tensor)

    def _leaf(self, term: Known | Value, tensor: Tensor) -> Iterator[None]:
        bound = self.tensors.get(term)
        if bound is not None:
            if is_same(bound, tensor):
                yield
            else:
                self.note(lambda: f"it reads '{tensor.name}' where '{bound.name}' is expected")
            return
        reason = why_not(term, tensor) if isinstance(term, Known) else None
        if reason is not None:
            self.note(reason)
            return
        self.tensors[term] = tensor
        yield
        del self.tensors[term]

    def _either(self, term: Either, tensor: Tensor) -> Iterator[None]:
        bound = self.tensors.get(term)
        if bound is not None and not is_same(bound, tensor):
            self.note(lambda: f"it reads '{tensor.name}' where '{bound.name}' is expected")
        elif bound is not None:
            yield
        else:
            for choice in term.choices:
                self.tensors[term] = tensor
                yield from self._match(choice, tensor)
                del self.tensors[term]

    def _computed(self, term: Computed, tensor: Tensor) -> Iterator[None]:
        bound = self.nodes.get(term.node)
        if bound is not None:
            if term.index < len(bound.outputs) and bound.outputs[term.index] is tensor:
                self.tensors[term] = tensor
                yield
            else:
                self.note(lambda: f"it reads '{tensor.name}' where the result of {bound.label} is expected")
            return
        node: Node | None = tensor.producer
        if node is None or not self._is_op(term, node) or node.outputs[term.index : term.index + 1] != [tensor]:
            self.note(lambda: f"{_made(tensor, node)}, where {term.op} is expected")
            return
        self.tensors[term] = tensor
        self.nodes[term.node] = node
        if (reason := self._attributes_differ(term, node)) is not None:
            self.note(reason)
        else:
            for pairs in self._pairings(term, node):
                yield from self._all(pairs, 0)
        del self.nodes[term.node]
        del self.tensors[term]

    def _is_op(self, term: Computed, node: Node) -> bool:
        if term.op != node.op:
            return False
        return node.domain == term.domain if term.domain else node.is_standard and node.op not in self._hidden

    def _attributes_differ(self, term: Computed, node: Node) -> Reason | None:
        for name in dict.fromkeys((*term.attributes, *node.attrs)):
            try:
                value, default = value_of(node, name, self.opset)
            except NoMatch as no:
                return lambda no=no: str(no)  # type: ignore[misc]
            wanted = term.attributes.get(name, default)
            fits = wanted(value) if callable(wanted) else _is_close(value, wanted)
            if not fits:
                expected = "is not what is expected" if callable(wanted) else f"where {wanted} is expected"
                return lambda name=name, value=value: (  # type: ignore[misc]
                    f"attribute '{name}' of {node.label} is {value}, {expected}"
                )
        return None

    def _pairings(self, term: Computed, node: Node) -> Iterator[list[tuple[Term, Tensor]]]:
        """The ways to pair the terms that an operator reads with the inputs of the node."""
        given = list(node.inputs)
        while given and given[-1].is_empty():
            given.pop()
        pairs: list[tuple[Term, Tensor]] = []
        for index, part in enumerate(term.inputs):
            if index < len(given) and not given[index].is_empty():
                pairs.append((part, given[index]))
            elif not isinstance(part, Omittable):
                self.note(lambda: f"{node.label} has too few inputs")
                return
        if len(given) > len(term.inputs) and not term.open:
            self.note(lambda: f"{node.label} has more inputs than expected")
            return
        yield pairs
        if len(pairs) == len(given) == 2 and node.op in COMMUTATIVE and given[0] is not given[1]:
            yield [(pairs[0][0], given[1]), (pairs[1][0], given[0])]

    def _all(self, pairs: list[tuple[Term, Tensor]], index: int) -> Iterator[None]:
        if index == len(pairs):
            yield
            return
        for _ in self._match(*pairs[index]):
            yield from self._all(pairs, index + 1)


class _TooManySteps(Exception):
    """The search is over."""


def _is_close(value: object, wanted: object) -> bool:
    """Equality of attributes; of floats, up to the rounding of float32, which is what ONNX stores."""
    if isinstance(value, float) and isinstance(wanted, (int, float)):
        return abs(value - wanted) <= 2.0**-23 * abs(wanted)
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return list(value) == list(wanted)
    return value == wanted


def _made(tensor: Tensor, producer: Node | None) -> str:
    if producer is not None:
        return f"'{tensor.name}' is the result of {producer.label}"
    return f"'{tensor.name}' is {'an input' if not hasattr(tensor, '_values') else 'constant'}"
