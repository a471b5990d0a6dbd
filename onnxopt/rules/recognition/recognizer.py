"""What the rules that recognize a composite operator in its spelled-out form have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxopt import ir
from onnxopt.ir.pattern import Match, NoMatch, Outcome, Rule, Term, anything, either, op, optional, rewrite, scalar
from onnxopt.ir.pattern.constants import epsilon
from onnxopt.ir.proven import ProvenShapes
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.dialect import Composite

SINGLE = (np.dtype(np.float16), np.dtype(np.float32))
"""What onnxruntime computes every composite operator in; of float64 it has only some."""
DOUBLE = (*SINGLE, np.dtype(np.float64))
_DOUBLE_SINCE = 16
"""More than enough for Clip (12), Softmax (13) and Relu (14). LeakyRelu, PRelu and Mish it has in float32 alone, and
from opset 19 on it does not take those of float64 apart either (1.31)."""
_BIG = 3.4e38
"""What Clip's attributes take for "no bound": the largest float32 is 3.4028e38."""


class Recognition(Rule):
    """A rule that writes one operator for several."""

    composite: Composite | None = None
    """What the target has to like; None for operators that every target has."""


def recognize(graph: ir.Graph, rules: Sequence[Recognition], ctx: Context) -> bool:
    """Apply the rules that the target wants; return whether anything changed."""
    wanted = [rule for rule in rules if rule.composite is None or ctx.dialect.takes(rule.composite)]
    outcome: Outcome = rewrite(graph, wanted, ctx, ctx.analysis(ProvenShapes, graph))
    for what, times in outcome.by_rule.items():
        ctx.count(what, times)
    return outcome.applied > 0


def require_type(match: Match, of: Sequence[Term], types: Sequence[np.dtype]) -> np.dtype:
    """The element type that several tensors have in common, told from the first of which it is known.

    Raises:
        NoMatch: It is none of these types, or not known.
    """
    unknown: NoMatch | None = None
    for term in of:
        if term in match:
            try:
                dtype = match.dtype(match[term])
            except NoMatch as no:
                unknown = unknown or no
                continue
            if dtype not in types:
                raise NoMatch(f"'{match[term].name}' is {dtype}, in which not every runtime has the operator")
            return dtype
    raise unknown or NoMatch("the element type is not known")


def equal(one: float, other: float, dtype: np.dtype) -> bool:
    """Whether two numbers are the same but for the rounding of a type, twice."""
    return abs(one - other) <= 2 * epsilon(dtype) * max(abs(one), abs(other))


class Clipped:
    """Clip of a term between constants: inputs since opset 11, attributes before."""

    def __init__(self, term: Term) -> None:
        self.low, self.high = scalar(), scalar()
        self._by_input = op.Clip(term, optional(self.low), optional(self.high))
        self._by_attribute = op.Clip(term, min=anything, max=anything)
        self.term = either(self._by_input, self._by_attribute)

    def bounds(self, match: Match) -> tuple[float | None, float | None]:
        """The two bounds, None for one that is not there."""
        if match.opset >= CLIP_INPUTS:
            return tuple(match.number(t) if t in match else None for t in (self.low, self.high))  # type: ignore[return-value]
        low, high = (match.attr(self._by_attribute, name) for name in ("min", "max"))
        return (None if low is None or low < -_BIG else low, None if high is None or high > _BIG else high)


def widest(match: Match) -> Sequence[np.dtype]:
    """The types in which onnxruntime has the elementwise operators of the scope's opset."""
    return DOUBLE if match.opset >= _DOUBLE_SINCE else SINGLE


CLIP_INPUTS = 11
"""The opset since which Clip's bounds are inputs."""
