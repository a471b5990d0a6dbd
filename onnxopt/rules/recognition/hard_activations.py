"""HardSigmoid and HardSwish, spelled with Clip.

A bounded ramp, as in MobileNetV3 (Howard et al., 2019): hard_sigmoid(x) = relu6(x + 3) / 6 and
hard_swish(x) = x relu6(x + 3) / 6. For NaN and infinities the operators give what the spellings give; where
x * 6 is too large for its type the spelling overflows and the operator does not.
"""

from __future__ import annotations

from onnxopt import ir
from onnxopt.ir.pattern import Maker, Match, NoMatch, Term, any_, constant, either, op, scalar
from onnxopt.rules.recognition.recognizer import SINGLE, Clipped, Recognition, equal, require_type


class HardSigmoidFromRamp(Recognition):
    """clip(x + k, 0, c) / c = clip(x / c + k / c, 0, 1): F.relu6(x + 3) / 6 in torch, paddle's and Keras's."""

    composite = "HardSigmoid"
    what = "recognize HardSigmoid: clip(x + k, 0, c) / c"
    near = ("Clip", "Add")
    x, k, c, one_over_c = any_("x"), scalar(), scalar(), scalar()
    ramp = Clipped(op.Add(x, k))
    pattern = either(op.Div(ramp.term, c), op.Mul(ramp.term, one_over_c))

    def check(self, match: Match) -> None:
        """The bounds are 0 and the divisor."""
        dtype = require_type(match, (self.k, self.x), SINGLE)
        low, high = self.ramp.bounds(match)
        if low != 0 or high is None or high <= 0 or not equal(high, self._divisor(match, dtype, high), dtype):
            raise NoMatch(f"it clips to {low} and {high}, and that is not 0 and what it is divided by")

    def _divisor(self, match: Match, dtype: object, high: float) -> float:
        if self.c in match:
            return match.number(self.c)
        factor = match.number(self.one_over_c)
        return 1 / factor if factor else 0.0

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """alpha = 1 / c, beta = k / c."""
        high = self.ramp.bounds(match)[1] or 1.0
        return op.HardSigmoid(match[self.x], alpha=1 / high, beta=match.number(self.k) / high)


class HardSigmoidFromLine(Recognition):
    """clip(a x + b, 0, 1): Keras's hard_sigmoid, 0.2 x + 0.5, and torch's decomposition."""

    composite = "HardSigmoid"
    what = "recognize HardSigmoid: clip(a x + b, 0, 1)"
    near = ("Add", "Mul")
    x, a, c, b = any_("x"), scalar(), scalar(), scalar()
    line = op.Add(either(op.Mul(x, a), op.Div(x, c)), b)
    ramp = Clipped(line)
    pattern = ramp.term

    def check(self, match: Match) -> None:
        """The bounds are 0 and 1."""
        require_type(match, (self.b, self.x), SINGLE)
        bounds = self.ramp.bounds(match)
        if bounds != (0.0, 1.0):
            raise NoMatch(f"it clips to {bounds[0]} and {bounds[1]}, where 0 and 1 are expected")
        if self.c in match and match.number(self.c) == 0:
            raise NoMatch("it divides by 0")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """alpha = a, beta = b."""
        slope = match.number(self.a) if self.a in match else 1 / match.number(self.c)
        return op.HardSigmoid(match[self.x], alpha=slope, beta=match.number(self.b))


_X = any_("x")
_THREE = constant(3)
_RELU6 = Clipped(op.Add(_X, _THREE))
_SPELLED = either(
    op.Div(op.Mul(_X, _RELU6.term), 6),  # paddle, mmcv
    op.Mul(op.Mul(_X, _RELU6.term), 1 / 6),  # TensorFlow
    op.Mul(op.Div(_X, 6), _RELU6.term),
    op.Mul(op.Mul(_X, 1 / 6), _RELU6.term),
)
_ONE_SIGMOID = op.Mul(_X, op.HardSigmoid(_X, alpha=1 / 6, beta=0.5))


def _check(match: Match) -> None:
    require_type(match, (_THREE, _X), SINGLE)
    if _RELU6.term in match and _RELU6.bounds(match) != (0.0, 6.0):
        raise NoMatch("it does not clip to 0 and 6")


class HardSwish(Recognition):
    """x HardSigmoid(x), or x clip(x + 3, 0, 6) / 6 in any order."""

    composite = "HardSwish"
    what = "recognize HardSwish: x clip(x + 3, 0, 6) / 6"
    since = 14
    pattern: Term = either(_ONE_SIGMOID, *_SPELLED.choices)

    def check(self, match: Match) -> None:
        """Bounds and type."""
        _check(match)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.HardSwish(match[_X])


class HardSwishByHardSigmoid(Recognition):
    """Where there is no HardSwish (opset 14), or the target does not like it: x HardSigmoid(x), four nodes as two."""

    composite = "HardSigmoid"
    what = "recognize x HardSigmoid(x): x clip(x + 3, 0, 6) / 6"
    pattern: Term = _SPELLED

    def check(self, match: Match) -> None:
        """Bounds and type."""
        _check(match)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """Two nodes."""
        return op.Mul(match[_X], op.HardSigmoid(match[_X], alpha=1 / 6, beta=0.5))


RULES = (HardSigmoidFromRamp(), HardSigmoidFromLine(), HardSwish(), HardSwishByHardSigmoid())
