"""Delta debugging: the fewest of many things that still show a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(items: Sequence[T], remove: Callable[[Sequence[T]], bool]) -> list[T]:
    """What is left of `items` when no single one can be removed any more: it is 1-minimal.

    Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE Transactions on Software
    Engineering 28(2), 2002, section 3, by its complements: first halves are taken out, then quarters, and so on down to
    single items, those again until a sweep takes out none. Of n items of which k are needed, about 2 k log2(n/k) are
    tried where the failure depends on those k alone.

    Args:
        items: In an order in which neighbours are likely to go together. The last ones are tried first.
        remove: Called with some of what is left, in their order; whether the failure is the same without them. If so,
            they are gone.
    """
    left = list(items)
    size = max(1, len(left) // 2)
    while left:
        found = _sweep(left, size, remove)
        if size == 1 and not found:
            break
        size = max(1, min(size // 2, len(left) // 2))
    return left


def _sweep(left: list[T], size: int, remove: Callable[[Sequence[T]], bool]) -> bool:
    """Try to remove each `size` neighbours of `left` once, the last ones first; whether any are gone."""
    found = False
    end = len(left)
    while end > 0:
        start = max(0, end - size)
        if remove(left[start:end]):
            del left[start:end]
            found = True
        end = start
    return found
