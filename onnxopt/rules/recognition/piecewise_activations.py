"""Relu, Clip, LeakyRelu and PRelu, spelled with Max, Min and Where.

NaN stays NaN in all of them. Of -0.0 and 0.0, Max and Min may give out either.
"""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.pattern import Maker, Match, NoMatch, Term, any_, constant, either, op, scalar
from onnxopt.rules.recognition.recognizer import CLIP_INPUTS, SINGLE, Recognition, require_type, widest


class Relu(Recognition):
    """max(x, 0). Not Clip from 0: that gives the largest number for infinity."""

    what = "recognize Relu: max(x, 0)"
    x, zero = any_("x"), constant(0)
    pattern = op.Max(x, zero)

    def check(self, match: Match) -> None:
        """Type."""
        require_type(match, (self.zero, self.x), widest(match))

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Relu(match[self.x])


class ClipFromMinMax(Recognition):
    """min(max(x, low), high), max(min(x, high), low) with low <= high, min(relu(x), high): TensorFlow, by hand."""

    what = "recognize Clip: min(max(x, low), high)"
    x, low, high = any_("x"), scalar(), scalar()
    relu = op.Relu(x)
    pattern = either(op.Min(op.Max(x, low), high), op.Max(op.Min(x, high), low), op.Min(relu, high))

    def check(self, match: Match) -> None:
        """Type, and the order of the bounds: Clip gives the upper one where they cross, and so does the first form."""
        require_type(match, (self.high,), widest(match))
        low, high = self._bounds(match)
        if np.isnan(low) or np.isnan(high) or low > high:
            raise NoMatch(f"the bounds {low:g} and {high:g} cross")

    def _bounds(self, match: Match) -> tuple[float, float]:
        return (match.number(self.low) if self.low in match else 0.0, match.number(self.high))

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        low, high = self._bounds(match)
        if match.opset < CLIP_INPUTS:
            return op.Clip(match[self.x], min=low, max=high)
        dtype = match.dtype(match[self.high])
        return op.Clip(match[self.x], *(self._scalar(match, term, dtype) for term in (self.low, self.high)))

    def _scalar(self, match: Match, term: Term, dtype: np.dtype) -> ir.Tensor | np.ndarray:
        """The bound without axes; the very tensor where it has none."""
        if term not in match:
            return np.zeros((), dtype)
        value = match.value(term)
        return match[term] if value.ndim == 0 else value.reshape(())


class LeakyReluFromMax(Recognition):
    """max(x, alpha x) with 0 < alpha <= 1."""

    what = "recognize LeakyRelu: max(x, alpha x)"
    x, alpha = any_("x"), scalar()
    pattern = op.Max(x, op.Mul(x, alpha))

    def check(self, match: Match) -> None:
        """Slope and type."""
        require_type(match, (self.alpha,), SINGLE)
        if not 0 < match.number(self.alpha) <= 1:  # of 0, infinity would become NaN
            raise NoMatch(f"the slope {match.number(self.alpha):g} is not above 0 and up to 1")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.LeakyRelu(match[self.x], alpha=match.number(self.alpha))


class LeakyReluFromWhere(Recognition):
    """where(x > 0, x, alpha x): jax, tf.where by hand."""

    what = "recognize LeakyRelu: where(x > 0, x, alpha x)"
    since = 9
    x, alpha = any_("x"), scalar()
    line = op.Mul(x, alpha)
    pattern = either(
        op.Where(either(op.Greater(x, 0), op.GreaterOrEqual(x, 0)), x, line),
        op.Where(either(op.Less(x, 0), op.LessOrEqual(x, 0)), line, x),
    )
    near = ("Mul",)

    def check(self, match: Match) -> None:
        """Slope and type. NaN compares false: the second form gives x for it, which is NaN as well."""
        require_type(match, (self.alpha,), SINGLE)
        if not np.isfinite(match.number(self.alpha)):
            raise NoMatch("the slope is not finite")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.LeakyRelu(match[self.x], alpha=match.number(self.alpha))


class PReluFromRelus(Recognition):
    """relu(x) - s relu(-x), or relu(x) + (-s) relu(-x): PReLU in Keras."""

    what = "recognize PRelu: relu(x) - s relu(-x)"
    x, slope, minus_slope = any_("x"), constant(), constant()
    negative = op.Relu(op.Neg(x))
    pattern = either(
        op.Sub(op.Relu(x), op.Mul(negative, slope)),
        op.Add(op.Relu(x), op.Mul(negative, minus_slope)),
    )
    near = ("Relu", "Neg")

    def check(self, match: Match) -> None:
        """The slope has to broadcast to x, and to be small enough to be read."""
        given = match[self.slope if self.slope in match else self.minus_slope]
        require_type(match, (self.slope, self.minus_slope), SINGLE)
        if known_value(given) is None:
            raise NoMatch(f"'{given.name}' is too large to be read")
        slope, shape = match.shape(given), match.shape(match[self.x])
        matched = zip(reversed(slope), reversed(shape), strict=False)
        if len(slope) > len(shape) or any(dim not in (1, wide) for dim, wide in matched):
            raise NoMatch(f"the slope '{given.name}' is not certain to broadcast to '{match[self.x].name}'")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node; the slope with its sign changed where it was added."""
        if self.slope in match:
            return op.PRelu(match[self.x], match[self.slope])
        return op.PRelu(match[self.x], -match.value(self.minus_slope))


RULES = (Relu(), ClipFromMinMax(), LeakyReluFromMax(), LeakyReluFromWhere(), PReluFromRelus())
