"""Arithmetic of symbolic dimensions that is more than adding and multiplying."""

from __future__ import annotations

from collections.abc import Container, Iterable

from onnxopt.ir.proven.dim import Atom, Dim, Monomial, in_order, lowest, sort_key

_MEMBERS = 16
"""A common size of more than this is not taken apart again: expressions must not grow without bound."""


def product(extents: Iterable[int | Dim]) -> int | Dim:
    """The product; 1 of none."""
    found: int | Dim = 1
    for extent in extents:
        found = found * extent
    return found


def exact_quotient(dividend: int | Dim, divisor: int | Dim) -> int | Dim | None:
    """The quotient where the division leaves nothing, for every value that is not 0 of the divisor; else None."""
    if divisor == 0:
        return None
    if isinstance(dividend, int):
        return dividend // divisor if isinstance(divisor, int) and dividend % divisor == 0 else None
    if isinstance(divisor, int):
        if any(factor % divisor for _, factor in dividend.terms):
            return None
        return Dim(tuple((monomial, factor // divisor) for monomial, factor in dividend.terms))
    quotient: int | Dim = 0
    rest: int | Dim = dividend
    (leading, by), *_ = divisor.terms
    while rest != 0:  # each step takes the highest term away
        if isinstance(rest, int) or rest.terms[0][1] % by:
            return None
        left = _without(rest.terms[0][0], leading)
        if left is None:
            return None
        times = rest.terms[0][1] // by
        step = Dim(((left, times),)) if left else times
        quotient, rest = quotient + step, rest - step * divisor
    return quotient


def _without(monomial: Monomial, gone: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in gone:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def floor_quotient(dividend: int | Dim, divisor: int | Dim) -> int | Dim | None:
    """The quotient, rounded down; None where the divisor is 0."""
    if divisor == 0:
        return None
    exact = exact_quotient(dividend, divisor)
    if exact is not None:
        return exact
    if isinstance(dividend, Dim) and isinstance(divisor, int) and divisor > 0:
        whole: int | Dim = 0
        rest: int | Dim = 0
        for monomial, factor in dividend.terms:  # floor((c x + r) / c) = x + floor(r / c), for integers x
            times, left = divmod(factor, divisor)
            unit: int | Dim = Dim(((monomial, 1),)) if monomial else 1
            whole, rest = whole + times * unit, rest + left * unit
        return whole + (rest // divisor if isinstance(rest, int) else Dim.of("floor", rest, divisor))
    if isinstance(dividend, int) and isinstance(divisor, int):
        return dividend // divisor
    return Dim.of("floor", dividend, divisor)


def trunc_quotient(dividend: int | Dim, divisor: int | Dim, nonempty: bool = False) -> int | Dim | None:
    """The quotient, rounded towards 0 as integer division does in C; None where the divisor is 0."""
    if divisor == 0:
        return None
    low, divisor_low = lowest(dividend, nonempty), lowest(divisor, nonempty)
    if low is not None and low >= 0 and divisor_low is not None and divisor_low >= 0:
        return floor_quotient(dividend, divisor)
    if isinstance(dividend, int) and isinstance(divisor, int):
        return dividend // divisor if (dividend < 0) == (divisor < 0) else -(-dividend // divisor)
    exact = exact_quotient(dividend, divisor)
    return Dim.of("trunc", dividend, divisor) if exact is None else exact


def larger(one: int | Dim, other: int | Dim) -> int | Dim:
    """The larger one."""
    return _ordered(one, other, "max")


def smaller(one: int | Dim, other: int | Dim) -> int | Dim:
    """The smaller one."""
    return _ordered(one, other, "min")


def _ordered(one: int | Dim, other: int | Dim, kind: str) -> int | Dim:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other) if kind == "max" else min(one, other)
    if at_most(other, one):
        return one if kind == "max" else other
    if at_most(one, other):
        return other if kind == "max" else one
    return Dim.of(kind, *in_order(one, other))


def at_most(one: int | Dim, other: int | Dim, nonempty: bool = False) -> bool:
    """Whether `one <= other` is certain."""
    low = lowest(other - one, nonempty)
    if low is not None:
        return low >= 0
    smaller_of, larger_of = only_atom(one, "min"), only_atom(other, "max")
    return (smaller_of is not None and other in smaller_of.args) or (larger_of is not None and one in larger_of.args)


def unequal(one: int | Dim, other: int | Dim) -> bool:
    """Whether it is certain that the two differ."""
    if isinstance(one, int) and isinstance(other, int):
        return one != other
    return at_most(one + 1, other) or at_most(other + 1, one)


def joined(one: int | Dim, other: int | Dim) -> int | Dim:
    """The common size that broadcasting gives to two, given that it is possible: the one that is not 1."""
    if one == other or other == 1:
        return one
    if one == 1:
        return other
    if isinstance(one, int):  # the other is then this number, or 1
        return one
    return other if isinstance(other, int) else all_joined((one, other))


def all_joined(extents: Iterable[int | Dim]) -> int | Dim:
    """The common size of several."""
    members: dict[int | Dim, None] = {}
    for extent in extents:
        if isinstance(extent, int):
            if extent != 1:
                return extent
        else:
            inner = only_atom(extent, "joined")
            flat = inner is not None and len(inner.args) <= _MEMBERS
            members.update(dict.fromkeys(inner.args if inner is not None and flat else (extent,)))
    if len(members) > 1:  # min(m, n) and n make n: where they differ, min(m, n) has to be 1
        members = {member: None for member in members if not _is_smaller_of(member, members)}
    if len(members) < 2:
        return next(iter(members), 1)
    return Dim.of("joined", *sorted(members, key=sort_key))


def only_atom(extent: int | Dim, kind: str) -> Atom | None:
    """The atom that a dimension is, where it is one of this kind and nothing else."""
    if isinstance(extent, int) or len(extent.terms) > 1:
        return None
    monomial, factor = extent.terms[0]
    return monomial[0] if factor == 1 and len(monomial) == 1 and monomial[0].kind == kind else None


def _is_smaller_of(extent: int | Dim, members: Container[int | Dim]) -> bool:
    atom = only_atom(extent, "min")
    if atom is None:
        return False
    return any(part in members and at_most(1, atom.args[1 - place]) for place, part in enumerate(atom.args))
