"""What a pattern is made of. A term stands for one tensor; terms are told apart by identity.

A term that occurs twice has to be the same tensor at both places: the same object, or constants of equal type, shape
and bits. Two terms may stand for the same tensor, so a value that exporters compute sometimes once and sometimes twice
is written as two terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from onnxopt.ir.values import Array

Accepts: TypeAlias = Callable[[Any], bool]
"""Whether an attribute's value, or the array that a constant holds, is one that the pattern is about."""


class Term:
    """A tensor in a pattern."""

    __slots__ = ()

    def parts(self) -> tuple[Term, ...]:
        """The terms that this one is made of."""
        return ()


class Value(Term):
    """Any tensor: `any_()`."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name


class Known(Term):
    """A constant: an initializer or the output of a Constant node; never an input that the caller may override."""

    __slots__ = ("accepts", "number", "single")

    def __init__(
        self, number: float | None = None, accepts: Callable[[Array], bool] | None = None, single: bool = False
    ) -> None:
        self.number = number
        self.accepts = accepts
        self.single = single or number is not None
        """Whether it has one element, and must not add an axis to what it is combined with."""


class Computed(Term):
    """One output of a node: the operator, what it reads, and what its attributes are."""

    __slots__ = ("attributes", "domain", "index", "inputs", "node", "op", "open")

    def __init__(self, op: str, inputs: tuple[Term, ...], more: bool, attributes: Mapping[str, Any], domain: str):
        self.op = op
        self.inputs = inputs
        self.open = more
        """Whether the node may have more inputs than these."""
        self.attributes = attributes
        self.domain = domain
        self.index = 0
        self.node: Computed = self
        """The term that the node is bound by; the same for all its outputs."""

    def output(self, index: int) -> Computed:
        """Another output of the same node."""
        twin = Computed(self.op, self.inputs, self.open, self.attributes, self.domain)
        twin.index, twin.node = index, self.node
        return twin

    def parts(self) -> tuple[Term, ...]:
        """What it reads."""
        return self.inputs


class Either(Term):
    """The first of several terms that fits."""

    __slots__ = ("choices",)

    def __init__(self, *choices: Term) -> None:
        self.choices = choices

    def parts(self) -> tuple[Term, ...]:
        """The alternatives."""
        return self.choices


class Omittable(Term):
    """An input that may be left out."""

    __slots__ = ("term",)

    def __init__(self, term: Term) -> None:
        self.term = term

    def parts(self) -> tuple[Term, ...]:
        """What stands there if it is not."""
        return (self.term,)


def every_term(root: Term) -> Iterator[Term]:
    """A term and all those that it is made of, each once."""
    seen = {root}
    pending = [root]
    while pending:
        term = pending.pop()
        yield term
        for part in reversed(term.parts()):
            if part not in seen:
                seen.add(part)
                pending.append(part)
