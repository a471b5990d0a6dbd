"""Unified diffs of texts that stay fast on 20,000 lines."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from onnxopt.ir.graph import Graph
from onnxopt.ir.text import to_text

_SMALL = 250_000
"""Product of line counts up to which a gap between anchors is compared line by line, which can be quadratic."""
Opcode = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]
Block = tuple[int, int, int]
"""Start in one text, start in the other, number of equal lines."""


def unified(a: Graph, b: Graph, *, context: int = 3) -> list[str]:
    """`unified_texts` of the text forms of two graphs."""
    return unified_texts(to_text(a), to_text(b), context=context)


def unified_texts(before: str, after: str, *, context: int = 3) -> list[str]:
    """The lines that differ, in the format of `diff -u` without file names; none where nothing differs.

    Lines that occur once in both texts and in one order are its anchors (the patience algorithm, Bram Cohen 2003), as
    the lines of named nodes are; what lies between two anchors is compared line by line where it is short, and
    replaced as a whole where it is not. O(n log n) in the number of lines.

    Args:
        before: A text, as of `to_text`.
        after: The other.
        context: Equal lines to show round each difference.
    """
    if before == after:
        return []
    a, b = before.removesuffix("\n").split("\n"), after.removesuffix("\n").split("\n")
    out: list[str] = []
    for group in _Matched(a, b).get_grouped_opcodes(context):
        (_, a0, _, b0, _), (_, _, a1, _, b1) = group[0], group[-1]
        out.append(f"@@ -{_range(a0, a1)} +{_range(b0, b1)} @@")
        for tag, i, j, k, m in group:
            if tag == "equal":
                out += [f" {line}" for line in a[i:j]]
            else:
                out += [f"-{line}" for line in a[i:j]]
                out += [f"+{line}" for line in b[k:m]]
    return out


class _Matched(SequenceMatcher[str]):
    """difflib's grouping round another way of matching."""

    def __init__(self, a: Sequence[str], b: Sequence[str]) -> None:
        super().__init__(None, "", "")
        self.codes = list(_opcodes(len(a), len(b), _blocks(a, b)))

    def get_opcodes(self) -> list[Opcode]:
        return self.codes


def _range(start: int, stop: int) -> str:
    length = stop - start
    return f"{start + 1}" if length == 1 else f"{start + (length > 0)},{length}"


def _opcodes(a_length: int, b_length: int, blocks: Iterator[Block]) -> Iterator[Opcode]:
    i = k = 0
    start: tuple[int, int] | None = None
    for x, y, n in (*blocks, (a_length, b_length, 0)):
        if (x, y) != (i, k):
            if start is not None:
                yield "equal", start[0], i, start[1], k
                start = None
            yield ("insert" if x == i else "delete" if y == k else "replace"), i, x, k, y
        if n and start is None:
            start = (x, y)
        i, k = x + n, y + n
    if start is not None:
        yield "equal", start[0], i, start[1], k


def _blocks(a: Sequence[str], b: Sequence[str]) -> Iterator[Block]:
    """Runs of equal lines, in order."""
    first = 0
    while first < min(len(a), len(b)) and a[first] == b[first]:
        first += 1
    last = 0
    while last < min(len(a), len(b)) - first and a[-1 - last] == b[-1 - last]:
        last += 1
    if first:
        yield 0, 0, first
    i = k = first
    for x, y in (*_anchors(a, b, first, last), (len(a) - last, len(b) - last)):
        if x < i or y < k:  # already in a run that was extended from the anchor before
            continue
        yield from _gap(a, b, i, x, k, y)
        n = 0
        while x + n < len(a) - last and y + n < len(b) - last and a[x + n] == b[y + n]:
            n += 1
        if n:
            yield x, y, n
        i, k = x + n, y + n
    if last:
        yield len(a) - last, len(b) - last, last


def _gap(a: Sequence[str], b: Sequence[str], i: int, x: int, k: int, y: int) -> Iterator[Block]:
    if i < x and k < y and (x - i) * (y - k) <= _SMALL:
        matcher = SequenceMatcher(None, a[i:x], b[k:y], autojunk=False)
        yield from ((i + m.a, k + m.b, m.size) for m in matcher.get_matching_blocks() if m.size)


def _anchors(a: Sequence[str], b: Sequence[str], first: int, last: int) -> list[tuple[int, int]]:
    """The longest increasing sequence of lines that occur once in each text."""
    mine, theirs = a[first : len(a) - last], b[first : len(b) - last]
    count_a, count_b = Counter(mine), Counter(theirs)
    place = {line: first + index for index, line in enumerate(theirs) if count_b[line] == 1 == count_a[line]}
    tops: list[int] = []
    ends: list[int] = []
    pairs: list[tuple[int, int, int]] = []
    for index, line in enumerate(mine):
        y = place.get(line)
        if y is None:
            continue
        pile = bisect_left(tops, y)
        pairs.append((first + index, y, ends[pile - 1] if pile else -1))
        if pile == len(tops):
            tops.append(y)
            ends.append(len(pairs) - 1)
        else:
            tops[pile], ends[pile] = y, len(pairs) - 1
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        x, y, at = pairs[at]
        chain.append((x, y))
    return chain[::-1]
