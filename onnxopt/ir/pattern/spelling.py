"""How patterns are written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import EllipsisType
from typing import Any

from onnxopt.ir.pattern.terms import Computed, Either, Known, Omittable, Term, Value
from onnxopt.ir.values import Array


def anything(value: Any) -> bool:
    """For an attribute of any value; the check or the rewrite reads it."""
    return True


def any_(name: str = "") -> Value:
    """Any tensor. The name is for the reader of the pattern."""
    return Value(name)


def constant(value: float | Callable[[Array], bool] | None = None) -> Known:
    """A constant.

    Args:
        value: A number: one element of any rank, equal to it up to the rounding of its own type, that is
            |c - value| <= eps |value| with eps = 2**-52 for float64, 2**-23 for float32, 2**-10 for float16 and 2**-7
            for bfloat16, exactly for integers. A predicate of the array, of at most 65,536 elements. None: any
            constant, whose value is not read.
    """
    if value is None:
        return Known()
    return Known(accepts=value) if callable(value) else Known(number=float(value))


def scalar() -> Known:
    """A constant of one element, of any rank; `Match.number` reads it."""
    return Known(single=True)


def either(*choices: Term) -> Either:
    """One of several terms, tried in this order."""
    return Either(*choices)


def optional(term: Term) -> Omittable:
    """An input that may be left out."""
    return Omittable(term)


def through_cast(term: Term) -> Either:
    """A term, or a Cast of it to any type."""
    return Either(op.Cast(term, to=anything), term)


class _Operators:
    """`op.Mul(x, y)` is a node of the operator Mul that reads just x and y.

    Numbers among the inputs are constants. `...` as the last input allows any others. Attributes are given by name: a
    value, or a predicate of the value; one that the node does not have counts as the operator's default, or as None.
    An attribute that is not mentioned has to be at its default. `domain` is that of the operator.
    """

    def __getattr__(self, name: str) -> Callable[..., Computed]:
        if name.startswith("_"):
            raise AttributeError(name)

        return partial(self.make, name)

    def make(self, name: str, *inputs: Term | float | EllipsisType, domain: str = "", **attributes: Any) -> Computed:
        """The same, for an operator that is not known when the pattern is written."""
        more = bool(inputs) and inputs[-1] is ...
        terms = tuple(_term(term) for term in (inputs[:-1] if more else inputs))
        return Computed(name, terms, more, attributes, domain)


def _term(term: Term | float | EllipsisType) -> Term:
    if isinstance(term, Term):
        return term
    if isinstance(term, EllipsisType):
        raise TypeError("... can only be the last input of a pattern")
    return constant(term)


op = _Operators()
