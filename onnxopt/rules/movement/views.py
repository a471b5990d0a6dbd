"""The shape that Reshape, Squeeze, Unsqueeze and Flatten give a tensor, in terms of the tensor's own dimensions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import Dims, Shape, has, ints

VIEWS = frozenset({"Flatten", "Gather", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that give out the elements of their input in the same order; Gather where `gathers_in_order`."""


@dataclass(frozen=True)
class Term:
    """A number times dimensions of the root, each named by its axis."""

    number: int
    axes: tuple[int, ...] = ()


Terms = tuple[Term | None, ...]
"""A term for each dimension; None where it cannot be said."""
_ONE = Term(1)


@dataclass(frozen=True)
class View:
    """The shape of a tensor that has the elements of the root, in the same order."""

    terms: Terms | None
    """None where not even the rank is known."""
    is_root: bool = False
    """Whether it is the root itself."""
    nonzero: frozenset[int] = frozenset()
    """Axes of the root that are not 0 where the nodes on the way run at all: beside a -1 they could not be."""
    ones: frozenset[int] = frozenset()
    """Axes of the root that are 1 where the nodes on the way run at all: they were squeezed."""

    def normal(self) -> Terms | None:
        """The dimensions, those known to be 1 left out of the products."""
        return None if self.terms is None else tuple(without(term, self.ones) for term in self.terms)


def without(term: Term | None, ones: frozenset[int]) -> Term | None:
    """A term whose factors that are 1 are left out."""
    if term is None or not ones.intersection(term.axes):
        return term
    return Term(term.number, tuple(axis for axis in term.axes if axis not in ones))


def root(shape: Shape | None) -> View:
    """The tensor that a chain starts from."""
    if shape is None:
        return View(None, is_root=True)
    return View(tuple(Term(1, (k,)) if dim is None else Term(dim) for k, dim in enumerate(shape)), is_root=True)


def through(node: ir.Node, view: View) -> View | None:
    """What a node of `VIEWS` makes of a tensor of that view; None where its output's shape cannot be told at all."""
    if node.op == "Reshape":
        return _reshape(node, view)
    if node.op == "Flatten":
        return _flatten(node, view)
    if node.op == "Gather":
        return _gather(node, view)
    if node.op == "Squeeze":
        return _squeeze(node, view)
    return _unsqueeze(node, view)


def _reshape(node: ir.Node, view: View) -> View | None:
    target, allowzero = ints(node, 1, "shape"), node.attr("allowzero", 0)
    if target is None or not isinstance(allowzero, int) or target.count(-1) > 1 or min(target, default=0) < -1:
        return None
    dims: list[Term | None] = []
    for axis, dim in enumerate(target):
        dims.append(_copied(view, axis) if dim == 0 and not allowzero else Term(dim) if dim >= 0 else None)
    nonzero = view.nonzero
    if -1 in target:
        at = target.index(-1)
        others = product([*dims[:at], *dims[at + 1 :]])
        total = None if view.terms is None else product(view.terms)
        dims[at] = None if others is None or total is None else _quotient(total, others)
        nonzero = nonzero.union(others.axes if others is not None else ())
    return replace(view, terms=tuple(dims), nonzero=nonzero, is_root=False)


def _copied(view: View, axis: int) -> Term | None:
    if view.terms is None:
        return Term(1, (axis,)) if view.is_root else None
    return view.terms[axis] if axis < len(view.terms) else None


def _flatten(node: ir.Node, view: View) -> View | None:
    axis = node.attr("axis", 1)
    if not isinstance(axis, int):
        return None
    if view.terms is None:
        first = product([_copied(view, before) for before in range(axis)]) if axis >= 0 else None
        return replace(view, terms=(first, None), is_root=False)
    axis += len(view.terms) if axis < 0 else 0
    if not 0 <= axis <= len(view.terms):
        return None
    return replace(view, terms=(product(view.terms[:axis]), product(view.terms[axis:])), is_root=False)


def gathers_in_order(node: ir.Node, dims: Dims | None) -> bool:
    """Whether a Gather, from a tensor of these dimensions, takes all along its axis, one after the other."""
    axis = node.attr("axis", 0)
    if dims is None or not isinstance(axis, int) or not -len(dims) <= axis < len(dims):
        return False
    size = dims[axis]
    value = known_value(node.inputs[1]) if isinstance(size, int) else None
    if value is None or value.size != size or value.size == 0:
        return False
    return bool(np.array_equal(value.reshape(-1) % value.size, np.arange(value.size)))


def _gather(node: ir.Node, view: View) -> View | None:
    """Of indices that are the numbers from 0 on, in whatever shape: that shape takes the place of the axis."""
    axis, indices = node.attr("axis", 0), known_value(node.inputs[1])
    if view.terms is None or indices is None or not -len(view.terms) <= axis < len(view.terms):
        return None
    axis %= len(view.terms)
    if view.terms[axis] != Term(indices.size):
        return None
    shape = tuple(Term(size) for size in indices.shape)
    return replace(view, terms=(*view.terms[:axis], *shape, *view.terms[axis + 1 :]), is_root=False)


def _squeeze(node: ir.Node, view: View) -> View | None:
    if view.terms is None:
        return replace(view, is_root=False)
    rank = len(view.terms)
    if not has(node, 1, "axes"):
        if any(term is None or term.axes for term in view.terms):
            return _shapeless(view)
        gone = {axis for axis, term in enumerate(view.terms) if term == _ONE}
    else:
        axes = ints(node, 1, "axes")
        if not axes or any(not -rank <= axis < rank for axis in axes):  # what no axes mean, runtimes do not agree on
            return _shapeless(view)
        gone = {axis % rank for axis in axes}
    squeezed = [view.terms[axis] for axis in gone]
    ones = view.ones.union(*(term.axes for term in squeezed if term is not None and term.number == 1))
    return replace(
        view, terms=tuple(term for axis, term in enumerate(view.terms) if axis not in gone), ones=ones, is_root=False
    )


def _unsqueeze(node: ir.Node, view: View) -> View | None:
    axes = ints(node, 1, "axes")
    if view.terms is None or axes is None:
        return _shapeless(view)
    places = places_of(axes, len(view.terms) + len(axes))
    if places is None:
        return None
    rest = iter(view.terms)
    dims = tuple(_ONE if axis in places else next(rest) for axis in range(len(view.terms) + len(axes)))
    return replace(view, terms=dims, is_root=False)


def _shapeless(view: View) -> View:
    return View(None, nonzero=view.nonzero, ones=view.ones)


def places_of(axes: Sequence[int], rank: int) -> frozenset[int] | None:
    """Axes counted from the front; None where one is out of range or named twice."""
    if any(not -rank <= axis < rank for axis in axes):
        return None
    places = frozenset(axis % rank for axis in axes)
    return places if len(places) == len(axes) else None


def product(terms: Sequence[Term | None]) -> Term | None:
    """The product of dimensions; None where one of them cannot be said."""
    known = [term for term in terms if term is not None]
    if len(known) < len(terms):
        return None
    axes = sorted(axis for term in known for axis in term.axes)
    return Term(math.prod(term.number for term in known), tuple(axes))


def _quotient(total: Term, part: Term) -> Term | None:
    if part.number == 0 or total.number % part.number:
        return None
    left, taken = Counter(total.axes), Counter(part.axes)
    if taken - left:
        return None
    return Term(total.number // part.number, tuple(sorted((left - taken).elements())))
