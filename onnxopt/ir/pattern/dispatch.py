"""Which rules are worth trying at a node: told from its operator and those that its inputs come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from onnxopt.ir.node import Node
from onnxopt.ir.pattern.rule import Rule
from onnxopt.ir.pattern.solver import COMMUTATIVE
from onnxopt.ir.pattern.terms import Computed, Either, Known, Term, every_term

_ARITHMETIC = frozenset(
    {"Add", "Cast", "Constant", "Div", "Flatten", "Identity", "Mul", "Reshape", "Squeeze", "Sub", "Transpose"}
    | {"Unsqueeze"}
)
"""Operators that tell no pattern from another."""
Ops = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A rule and one of the roots of its pattern."""

    rule: Rule
    root: Computed
    near: tuple[Collection[str], ...]
    """Groups of operators: a near match has one of each inside it; where there are none inside, only a check fails."""


class Dispatch:
    """The rules that hold at one opset."""

    def __init__(self, rules: Sequence[Rule], opset: int) -> None:
        entries = [entry for rule in rules if rule.since <= opset for entry in _entries(rule)]
        self.roots = frozenset(entry.root.op for entry in entries)
        """The operators that a match may end in."""
        self._entries = entries
        self._known: dict[tuple[str, Ops], tuple[Entry, ...]] = {}

    def __call__(self, node: Node) -> tuple[Entry, ...]:
        """The rules whose pattern may end in this node, in the order of the rules."""
        sources = tuple([tensor.inputs[0].op if tensor.inputs else "" for tensor in node.inputs])
        key = (node.op, sources)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tuple(entry for entry in self._entries if _may_fit(entry.root, node.op, sources))
        return found


def _entries(rule: Rule) -> Iterator[Entry]:
    for root in _roots(rule.pattern):
        if rule.near:
            near: tuple[Collection[str], ...] = tuple((op,) for op in rule.near)
        else:
            inside = {term.op for term in every_term(root) if isinstance(term, Computed) and term is not root}
            near = (inside - _ARITHMETIC or inside,)
        yield Entry(rule, root, near)


def _roots(pattern: Term) -> Iterator[Computed]:
    if isinstance(pattern, Either):
        for choice in pattern.choices:
            yield from _roots(choice)
    elif isinstance(pattern, Computed):
        yield pattern
    else:
        raise TypeError("a pattern ends in an operator")


def _may_fit(root: Computed, op: str, sources: Ops) -> bool:
    if root.op != op:
        return False
    wanted = [_sources(term) for term in root.inputs]
    if _all_fit(wanted, sources):
        return True
    swapped = len(wanted) == len(sources) == 2 and op in COMMUTATIVE
    return swapped and _all_fit(wanted[::-1], sources)


def _all_fit(wanted: list[frozenset[str] | None], sources: Ops) -> bool:
    return all(fits is None or (index < len(sources) and sources[index] in fits) for index, fits in enumerate(wanted))


def _sources(term: Term) -> frozenset[str] | None:
    """The operators that a term may come from, "" for none; None where it may be any, or left out."""
    if isinstance(term, Computed):
        return frozenset((term.op,))
    if isinstance(term, Known):
        return frozenset(("", "Constant"))
    if isinstance(term, Either):
        found = [_sources(choice) for choice in term.choices]
        return None if None in found else frozenset().union(*(ops for ops in found if ops is not None))
    return None
