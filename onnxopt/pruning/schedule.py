"""Zeros that come step by step."""

from __future__ import annotations

from collections.abc import Iterator

from onnxopt.pruning.patterns import Pattern


def steps_to(pattern: Pattern, steps: int) -> Iterator[tuple[float, Pattern]]:
    """Of each step the part of the final share of zeros, 0 to 1, and the pattern; the last is 1 and the pattern itself.

    Many weights go first, and fewer the fewer are left: part = 1 - (1 - t / steps)^3 (Zhu and Gupta 2017, equation 1,
    from no zeros on). Of N:M, N comes down likewise: 2:4 in two steps is 2:4 at once, as 7/8 of two weights are two.
    """
    for step in range(1, steps + 1):
        part = 1 - (1 - step / steps) ** 3
        of, kept = pattern.of, pattern.kept
        yield part, Pattern(of - round(part * (of - kept)), of) if of else pattern
