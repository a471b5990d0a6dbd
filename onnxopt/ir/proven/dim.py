"""Symbolic dimensions: polynomials with integer coefficients over what is not known before the model runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

_TERMS = 24
"""What has more terms than this is one atom: expressions must not grow without bound."""
_interned: WeakValueDictionary[tuple[Any, ...], Atom] = WeakValueDictionary()
_serial = itertools.count()


class Atom:
    """One unknown. Two atoms are equal only if they are the same object: `atom` makes each once.

    | kind | args | value |
    |---|---|---|
    | `symbol` | name | a named dimension of the model's inputs: one name has one value (IR specification) |
    | `axis` | name of an input, axis | an unnamed dimension of an input |
    | `size` | tensor, axis | what the model's data decide: a dimension of an inner tensor |
    | `floor`, `trunc` | dividend, divisor | the quotient rounded down; rounded towards 0 |
    | `max`, `min`, `sum`, `product` | two expressions | the larger one, the smaller one, both together |
    | `joined` | expressions | the common size that broadcasting gives them: the one that is not 1 |
    """

    __slots__ = ("__weakref__", "args", "kind", "low", "serial")

    kind: str
    args: tuple[Any, ...]
    serial: int
    low: tuple[int | None, int | None]
    """The least value it may have, and the least where no dimension of an input is 0; None where that is unknown."""

    @property
    def of_data(self) -> bool:
        """Whether the data that flow through the model decide its value, and not its inputs' dimensions alone."""
        return self.kind == "size" or any(arg.of_data for arg in self.args if isinstance(arg, Dim))

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        first = self.args[0]
        if self.kind == "symbol":
            return str(first)
        if self.kind in ("axis", "size"):
            return f"{first if self.kind == 'axis' else first.name}[{self.args[1]}]"
        args = map(str, self.args)
        return f"{self.kind}({', '.join(args if self.kind in ('floor', 'trunc') else sorted(args))})"


def atom(kind: str, *args: Any) -> Atom:
    """The atom of this kind and these arguments."""
    key = (kind, *args)
    found = _interned.get(key)
    if found is None:
        found = Atom()
        found.kind, found.args, found.serial = kind, args, next(_serial)
        found.low = _lows(kind, args)
        _interned[key] = found
    return found


Monomial = tuple[Atom, ...]
"""A product of atoms, the latest made first."""


def _order(monomial: Monomial) -> tuple[int, ...]:
    """Graded lexicographic: multiplying two monomials by a third keeps their order, which division needs."""
    return (len(monomial), *(atom.serial for atom in monomial))


class Dim:
    """A polynomial that is no number. Immutable; equal where the polynomials are."""

    __slots__ = ("_hash", "terms")

    terms: tuple[tuple[Monomial, int], ...]
    """Monomials with their coefficients, none of which is 0, the highest one first."""

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    @staticmethod
    def of(kind: str, *args: Any) -> Dim:
        """A single atom."""
        return Dim((((atom(kind, *args),), 1),))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Dim) and self._hash == other._hash and self.terms == other.terms)

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: int | Dim) -> int | Dim:
        if other == 0:
            return self
        sums = dict(self.terms)
        for monomial, factor in _terms(other):
            sums[monomial] = sums.get(monomial, 0) + factor
        return _made(sums) if len(sums) <= _TERMS else Dim.of("sum", *in_order(self, other))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Dim(tuple((monomial, -factor) for monomial, factor in self.terms))

    def __sub__(self, other: int | Dim) -> int | Dim:
        return self + -other

    def __rsub__(self, other: int) -> int | Dim:
        return -self + other

    def __mul__(self, other: int | Dim) -> int | Dim:
        if isinstance(other, int):
            if other in (0, 1):
                return self if other else 0
            return _made({monomial: factor * other for monomial, factor in self.terms})
        if len(self.terms) * len(other.terms) > _TERMS:
            return Dim.of("product", *in_order(self, other))
        sums: dict[Monomial, int] = {}
        for (one, factor), (two, times) in itertools.product(self.terms, other.terms):
            monomial = tuple(sorted((*one, *two), key=lambda atom: -atom.serial)) if one and two else one or two
            sums[monomial] = sums.get(monomial, 0) + factor * times
        return _made(sums)

    __rmul__ = __mul__

    @property
    def atoms(self) -> Iterator[Atom]:
        """The atoms of its monomials."""
        return (atom for monomial, _ in self.terms for atom in monomial)

    @property
    def of_data(self) -> bool:
        """Whether the data that flow through the model decide its value, and not its inputs' dimensions alone."""
        return any(atom.of_data for atom in self.atoms)

    def at(self, value: Callable[[Atom], int]) -> int:
        """Its value, given those of its `symbol`, `axis` and `size` atoms."""
        return _value_of(self, value, {})

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        """As one would write it, whatever was made first: `m*n - 2*n + 1`."""
        terms = sorted(
            (-len(monomial), "*".join(sorted(map(str, monomial))), factor) for monomial, factor in self.terms
        )
        text = ""
        for _, name, factor in terms:
            number = [str(abs(factor))] * (abs(factor) != 1 or not name)
            sign = "-" if factor < 0 else "+"
            text += (f" {sign} " if text else sign.strip("+")) + "*".join([*number, name] if name else number)
        return text


def _terms(extent: int | Dim) -> tuple[tuple[Monomial, int], ...]:
    return extent.terms if isinstance(extent, Dim) else (((), extent),) if extent else ()


def _made(sums: dict[Monomial, int]) -> int | Dim:
    kept = [(monomial, factor) for monomial, factor in sums.items() if factor]
    if not kept:
        return 0
    if len(kept) == 1:
        return Dim((kept[0],)) if kept[0][0] else kept[0][1]
    return Dim(tuple(sorted(kept, key=lambda term: _order(term[0]), reverse=True)))


def in_order(one: int | Dim, other: int | Dim) -> tuple[int | Dim, int | Dim]:
    """The two in one order, whichever came first, so that the same two make the same atom."""
    return (one, other) if sort_key(one) <= sort_key(other) else (other, one)


def sort_key(extent: int | Dim) -> tuple[Any, ...]:
    """What brings different expressions into one order."""
    return tuple((_order(monomial), factor) for monomial, factor in _terms(extent))


def lowest(extent: int | Dim, nonempty: bool = False) -> int | None:
    """The least value that it may have; None where that is not known.

    Args:
        extent: What is asked about.
        nonempty: Whether to assume that no dimension of a model's input is 0. What data decide may be 0 all the same.
    """
    if isinstance(extent, int):
        return extent
    total = 0
    for monomial, factor in extent.terms:
        lows = [atom.low[nonempty] for atom in monomial]
        if any(low is None or low < 0 for low in lows) or (factor < 0 and monomial):
            only = lows[0] if len(lows) == 1 and factor > 0 else None
            if only is None:
                return None
            lows = [only]
        total += factor * math.prod(low for low in lows if low is not None)
    return total


def _lows(kind: str, args: tuple[Any, ...]) -> tuple[int | None, int | None]:
    if kind in ("symbol", "axis"):
        return 0, 1
    if kind == "size":
        return 0, 0
    return _low(kind, args, False), _low(kind, args, True)


def _low(kind: str, args: tuple[Any, ...], nonempty: bool) -> int | None:
    if kind == "joined":
        lows = [lowest(arg, nonempty) for arg in args]
        return None if None in lows else min(low for low in lows if low is not None)
    one, other = (lowest(arg, nonempty) for arg in args)
    if kind == "max":
        return max((low for low in (one, other) if low is not None), default=None)
    if one is None or other is None:
        return None
    if kind in ("min", "sum"):
        return min(one, other) if kind == "min" else one + other
    if kind == "product":
        return one * other if min(one, other) >= 0 else None
    if not isinstance(args[1], int):
        return 0 if min(one, other) >= 0 else None
    if other <= 0:
        return None
    return one // other if one >= 0 or kind == "floor" else -(-one // other)


def _value_of(extent: int | Dim, given: Callable[[Atom], int], known: dict[Atom, int]) -> int:
    if isinstance(extent, int):
        return extent
    return sum(factor * math.prod(_value(atom, given, known) for atom in monomial) for monomial, factor in extent.terms)


def _value(atom: Atom, given: Callable[[Atom], int], known: dict[Atom, int]) -> int:
    if atom not in known:
        plain = atom.kind in ("symbol", "axis", "size")
        known[atom] = given(atom) if plain else _applied(atom.kind, [_value_of(arg, given, known) for arg in atom.args])
    return known[atom]


def _applied(kind: str, values: list[int]) -> int:
    match kind:
        case "joined":
            return next((value for value in values if value != 1), 1)
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "product":
            return math.prod(values)
        case "sum":
            return sum(values)
    one, other = values
    return one // other if kind == "floor" or (one < 0) == (other < 0) else -(-one // other)
