"""What Slice nodes take of a tensor, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.proven import Dims, has, ints

_LAST = 2**63 - 1
"""Exporters write this end, or 2**31 - 1, for "all"; a runtime ends where the axis does."""
STEPS_FROM = 10
"""The opset since which Slice has steps, and takes inputs in place of attributes."""


@dataclass(frozen=True)
class Span:
    """Elements `start`, `start + step`, ... before `end`; no number is negative. The end may lie behind the axis."""

    start: int
    end: int
    step: int = 1

    def then(self, other: Span) -> Span:
        """What is left of this span if `other` is taken of it: y[i] = x[start + i step]."""
        end = min(self.end, self.start + other.end * self.step)
        return Span(self.start + other.start * self.step, max(end, 0), self.step * other.step)


Spans = dict[int, Span]
"""By axis, from the front."""


def spans_of(node: ir.Node, dims: Dims | None) -> Spans | str | None:
    """What a Slice takes of its input, whose dimensions are `dims`; or why that is not certain; None for backwards."""
    starts, ends = ints(node, 1, "starts"), ints(node, 2, "ends")
    axes = ints(node, 3, "axes") if has(node, 3, "axes") else list(range(len(starts or ())))
    steps = ints(node, 4, "steps") if has(node, 4, "steps") else [1] * len(starts or ())
    if starts is None or ends is None or axes is None or steps is None:
        return None
    if not len(starts) == len(ends) == len(axes) == len(steps) or any(step < 1 for step in steps):
        return None
    found: Spans = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if dims is not None and not -len(dims) <= axis < len(dims):
            return None
        if axis < 0 and dims is None:
            return f"the rank of '{node.inputs[0].name}' is not certain"
        place = axis % len(dims) if dims is not None else axis
        size = dims[place] if dims is not None else None
        span = _span(start, end, step, size if isinstance(size, int) else None)
        if span is None:
            return f"the size of '{node.inputs[0].name}', from whose end it counts, is not certain"
        if place in found:
            return None
        found[place] = span
    return found


def _span(start: int, end: int, step: int, size: int | None) -> Span | None:
    if size is None:
        return None if min(start, end) < 0 else Span(start, end, step)
    start, end = (max(value + size, 0) if value < 0 else value for value in (start, end))
    return Span(min(start, size), min(end, size), step)


def merged(first: Spans, second: Spans) -> Spans:
    """What both take, the second of what the first leaves."""
    found = dict(first)
    for axis, span in second.items():
        found[axis] = found[axis].then(span) if axis in found else span
    return dict(sorted(found.items()))


def columns(spans: Spans) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps, as Slice takes them."""
    items = spans.values()
    starts, ends = [min(s.start, _LAST) for s in items], [min(s.end, _LAST) for s in items]
    return starts, ends, list(spans), [min(s.step, _LAST) for s in items]


def tiles(spans: Sequence[Span], size: int) -> list[int] | None:
    """The order in which spans cover an axis without gap or overlap; None where they do not."""
    order = sorted(range(len(spans)), key=lambda index: (spans[index].start, spans[index].end))
    at = 0
    for index in order:
        span = spans[index]
        if span.step != 1 or span.start != at or span.end < span.start:
            return None
        at = span.end
    return order if at == size else None
