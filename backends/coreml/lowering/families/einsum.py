"""Sums of products by the letters of their axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.carriers import reshaped
from onnxopt.backends.coreml.lowering.numbers import operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site


@lowers("Einsum")
def einsum(site: Site) -> Any:
    """Pair by pair as one product of matrices: [batch, left, summed] by [batch, summed, right]."""
    given = site.attr("equation")
    equation = (given.decode() if isinstance(given, bytes) else given).replace(" ", "")
    terms, wanted = _letters(site, equation)
    vars_ = [operand(site, index) for index in range(len(site))]
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        for letter, dim in zip(term, site.sizes(index), strict=True):
            known = sizes.setdefault(letter, dim)
            site.require(known == dim, f"attribute equation={equation!r}: axis {letter} is {known} and {dim}")
    pairs = [_diagonal(var, term) for var, term in zip(vars_, terms, strict=True)]
    var, term = pairs[0]
    for at, (other, letters) in enumerate(pairs[1:], 2):
        later = set(wanted).union(*(set(rest) for _, rest in pairs[at:]))
        var, term = _product(var, term, other, letters, later, sizes)
    var, term = _summed(var, term, set(wanted))
    perm = [term.index(letter) for letter in wanted]
    if perm == list(range(len(perm))):
        return mb.identity(x=var, name=site.name)
    return mb.transpose(x=var, perm=perm, name=site.name)


def _letters(site: Site, equation: str) -> tuple[list[str], str]:
    """The letter of each axis, of inputs and of the output; an ellipsis stands for capital Greek letters."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    site.require(len(terms) == len(site), f"attribute equation={equation!r} has {len(terms)} terms")
    more = [site.rank(index) - len(term.replace("...", "")) for index, term in enumerate(terms)]
    widest = max((count for count, term in zip(more, terms, strict=True) if "..." in term), default=0)
    dots = "".join(chr(0x391 + at) for at in range(widest))
    spelled = [term.replace("...", dots[widest - count :]) for term, count in zip(terms, more, strict=True)]
    if arrow:
        return spelled, right.replace("...", dots)
    once = sorted(letter for letter in set(left) - set(",.") if left.count(letter) == 1)
    return spelled, (dots if "..." in left else "") + "".join(once)


def _diagonal(var: Any, term: str) -> tuple[Any, str]:
    """A letter that comes twice: what is upon the diagonal."""
    for letter in set(term):
        while term.count(letter) > 1:
            first, second = [at for at, each in enumerate(term) if each == letter][:2]
            rest = [at for at in range(len(term)) if at not in (first, second)]
            dims, size = [int(var.shape[at]) for at in rest], int(var.shape[first])
            var = mb.transpose(x=var, perm=[*rest, first, second])
            var = mb.reshape(x=var, shape=[*dims, size * size])
            var = mb.gather(x=var, indices=np.arange(size, dtype=np.int32) * (size + 1), axis=len(rest))
            term = "".join(term[at] for at in rest) + letter
    return var, term


def _summed(var: Any, term: str, kept: set[str]) -> tuple[Any, str]:
    """Without the axes that nobody needs."""
    axes = [at for at, letter in enumerate(term) if letter not in kept]
    if not axes:
        return var, term
    return mb.reduce_sum(x=var, axes=axes, keep_dims=False), "".join(each for each in term if each in kept)


def _product(x: Any, left: str, y: Any, right: str, later: set[str], sizes: dict[str, int]) -> tuple[Any, str]:
    x, left = _summed(x, left, later | set(right))
    y, right = _summed(y, right, later | set(left))
    both = [letter for letter in left if letter in right]
    batch = "".join(letter for letter in both if letter in later)
    summed = "".join(letter for letter in both if letter not in later)
    rows = "".join(letter for letter in left if letter not in right)
    columns = "".join(letter for letter in right if letter not in left)
    x = _laid(x, left, [batch, rows, summed], sizes)
    y = _laid(y, right, [batch, summed, columns], sizes)
    term = batch + rows + columns
    return reshaped(mb.matmul(x=x, y=y), [sizes[letter] for letter in term]), term


def _laid(var: Any, term: str, groups: list[str], sizes: dict[str, int]) -> Any:
    """A matrix for each element of the batch."""
    perm = [term.index(letter) for group in groups for letter in group]
    if perm != list(range(len(perm))):
        var = mb.transpose(x=var, perm=perm)
    return reshaped(var, [math.prod(sizes[letter] for letter in group) for group in groups])
