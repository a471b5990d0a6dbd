"""Softmax and LogSoftmax, spelled out in the numerically stable way: with the maximum taken off first.

Without it exp overflows, and the operator would give another result; such a spelling is left. Along one axis, since
opset 13: before, Softmax flattened its input to a matrix.
"""

from __future__ import annotations

from onnxopt import ir
from onnxopt.ir.pattern import Computed, Maker, Match, NoMatch, Term, any_, anything, either, op
from onnxopt.rules.recognition.recognizer import Recognition, require_type, widest


def _reduced(name: str, term: Term) -> Computed:
    found: Computed = getattr(op, name)(term, ..., axes=anything, keepdims=1)
    return found


def _check_axes(match: Match, first: Computed, second: Computed) -> None:
    axes = [match.ints(term, 1, "axes") for term in (first, second)]
    if axes[0] is None or axes[0] != axes[1] or len(axes[0]) != 1:
        raise NoMatch(f"the maximum is over axes {axes[0]} and the sum over {axes[1]}, and that is not one axis twice")


class SoftmaxSpelled(Recognition):
    """exp(x - max(x)) / sum(exp(x - max(x))): einsum code in torch, jax.nn.softmax."""

    composite = "Softmax"
    what = "recognize Softmax: exp(x - max(x)) / sum(exp(x - max(x)))"
    since = 13
    x = any_("x")
    largest = _reduced("ReduceMax", x)
    e = op.Exp(op.Sub(x, largest))
    total = _reduced("ReduceSum", e)
    pattern = either(op.Div(e, total), op.Mul(e, op.Reciprocal(total)))
    near = ("Exp",)

    def check(self, match: Match) -> None:
        """One axis, and a type."""
        require_type(match, (self.x, self.e), widest(match))
        _check_axes(match, self.largest, self.total)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Softmax(match[self.x], axis=(match.ints(self.total, 1, "axes") or [-1])[0])


class LogSoftmaxSpelled(Recognition):
    """(x - max(x)) - log(sum(exp(x - max(x)))): jax.nn.log_softmax."""

    composite = "Softmax"
    what = "recognize LogSoftmax: (x - max(x)) - log(sum(exp(x - max(x))))"
    since = 13
    x = any_("x")
    largest = _reduced("ReduceMax", x)
    shifted = op.Sub(x, largest)
    total = _reduced("ReduceSum", op.Exp(shifted))
    pattern = op.Sub(shifted, op.Log(total))
    near = ("Log", "ReduceSum", "Exp")

    def check(self, match: Match) -> None:
        """One axis, and a type."""
        require_type(match, (self.x, self.shifted), widest(match))
        _check_axes(match, self.largest, self.total)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.LogSoftmax(match[self.x], axis=(match.ints(self.total, 1, "axes") or [-1])[0])


RULES = (SoftmaxSpelled(), LogSoftmaxSpelled())
