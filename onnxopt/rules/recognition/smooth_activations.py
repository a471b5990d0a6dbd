"""Sigmoid, Softplus, Swish, Mish and Gelu, spelled with Exp, Tanh and Erf.

For NaN and infinities the operators give what the spellings give. A spelling that overflows on the way, like
log(1 + exp(x)) for large x, gives an infinity where the operator gives the number that is meant.
"""

from __future__ import annotations

import math

import numpy as np

from onnxopt import ir
from onnxopt.ir.pattern import Maker, Match, NoMatch, any_, constant, either, op, scalar
from onnxopt.rules.recognition.recognizer import SINGLE, Recognition, require_type, widest

_BOTH_TYPES = 22
"""The opset since which Softplus and Mish take every type by definition, and not by way of log(1 + exp(x))."""


class Sigmoid(Recognition):
    """1 / (1 + exp(-x)): by hand in torch, jax2tf."""

    what = "recognize Sigmoid: 1 / (1 + exp(-x))"
    x, one = any_("x"), constant(1)
    below = op.Add(op.Exp(op.Neg(x)), one)
    pattern = either(op.Div(1, below), op.Reciprocal(below))
    near = ("Exp", "Add")

    def check(self, match: Match) -> None:
        """Type."""
        require_type(match, (self.one, self.x), widest(match))

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Sigmoid(match[self.x])


class SigmoidTimes(Recognition):
    """x / (1 + exp(-x)) = x Sigmoid(x)."""

    what = "recognize Sigmoid: x / (1 + exp(-x))"
    x, one = any_("x"), constant(1)
    below = op.Add(op.Exp(op.Neg(x)), one)
    pattern = op.Div(x, below)
    near = ("Exp", "Add")

    def check(self, match: Match) -> None:
        """Type."""
        require_type(match, (self.one, self.x), widest(match))

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """Two nodes."""
        return op.Mul(match[self.x], op.Sigmoid(match[self.x]))


class Softplus(Recognition):
    """log(1 + exp(x)), and its stable form max(x, 0) + log(1 + exp(-|x|)): TensorFlow, jax, torch by hand.

    Not for onnxruntime: its kernel takes 5.8 times the time of Exp, Add and Log (1.31, x86-64, float32).
    """

    composite = "Softplus"
    what = "recognize Softplus: log(1 + exp(x))"
    x, one = any_("x"), constant(1)
    below = op.Neg(op.Abs(x))
    positive = either(op.Relu(x), op.Max(x, 0))
    pattern = either(
        op.Log(op.Add(op.Exp(x), one)),
        op.Add(positive, either(op.Log(op.Add(op.Exp(below), one)), op.Softplus(below))),
    )
    near = ("Exp", "Add")

    def check(self, match: Match) -> None:
        """Type."""
        require_type(match, (self.one, self.x), SINGLE)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Softplus(match[self.x])


class Mish(Recognition):
    """x tanh(softplus(x)) (Misra, 2019): F.mish in torch before opset 18, darknet's."""

    composite = "Mish"
    what = "recognize Mish: x tanh(softplus(x))"
    since = 18
    x = any_("x")
    pattern = op.Mul(x, op.Tanh(op.Softplus(x)))
    near = ("Softplus", "Tanh")

    def check(self, match: Match) -> None:
        """Type; below opset 22 the definition overflows in float16."""
        dtype = require_type(match, (self.x, self.pattern), SINGLE)
        if match.opset < _BOTH_TYPES and dtype == np.float16:
            raise NoMatch("Mish of float16 is defined by log(1 + exp(x)), which overflows, below opset 22")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Mish(match[self.x])


class Swish(Recognition):
    """x sigmoid(alpha x): SiLU, and with alpha = 1.702 QuickGELU (CLIP)."""

    composite = "Swish"
    what = "recognize Swish: x sigmoid(alpha x)"
    since = 24
    x, alpha = any_("x"), scalar()
    pattern = op.Mul(x, op.Sigmoid(either(op.Mul(x, alpha), x)))

    def check(self, match: Match) -> None:
        """Type; the slope is an attribute of float32."""
        dtype = require_type(match, (self.alpha, self.x), widest(match))
        slope = match.number(self.alpha) if self.alpha in match else 1.0
        if dtype == np.float64 and float(np.float32(slope)) != slope:
            raise NoMatch(f"the slope '{match[self.alpha].name}' is not exact in float32, as Swish takes it")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        alpha = match.number(self.alpha) if self.alpha in match else 1.0
        return op.Swish(match[self.x], alpha=alpha) if alpha != 1 else op.Swish(match[self.x])


class GeluExact(Recognition):
    """x (1 + erf(x / sqrt(2))) / 2, in any order: nn.GELU in both torch exporters, BERT and ViT in transformers."""

    composite = "Gelu"
    what = "recognize Gelu: x (1 + erf(x / sqrt(2))) / 2"
    since = 20
    x, one = any_("x"), constant(1)
    erf = op.Erf(either(op.Div(x, math.sqrt(2)), op.Mul(x, math.sqrt(0.5))))
    twice = op.Add(erf, one)
    pattern = either(
        op.Mul(op.Mul(x, twice), 0.5),
        op.Div(op.Mul(x, twice), 2),
        op.Mul(op.Mul(x, 0.5), twice),
        op.Mul(op.Div(x, 2), twice),
        op.Mul(x, op.Mul(twice, 0.5)),
        op.Mul(x, op.Div(twice, 2)),
    )
    near = ("Erf",)

    def check(self, match: Match) -> None:
        """Type."""
        require_type(match, (self.one, self.x), SINGLE)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Gelu(match[self.x])


class GeluTanh(Recognition):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: GPT-2's gelu_new, gelu_fast, gelu_pytorch_tanh."""

    composite = "Gelu"
    what = "recognize Gelu: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2"
    since = 20
    x, one = any_("x"), constant(1)
    cube = either(op.Pow(x, 3), op.Mul(op.Mul(x, x), x), op.Mul(op.Pow(x, 2), x))
    inner = either(
        op.Mul(op.Add(op.Mul(cube, 0.044715), x), math.sqrt(2 / math.pi)),
        op.Mul(
            op.Mul(x, math.sqrt(2 / math.pi)),
            op.Add(either(op.Mul(op.Mul(x, 0.044715), x), op.Mul(either(op.Mul(x, x), op.Pow(x, 2)), 0.044715)), 1),
        ),
    )
    twice = op.Add(op.Tanh(inner), one)
    pattern = either(
        op.Mul(op.Mul(x, twice), 0.5),
        op.Mul(op.Mul(x, 0.5), twice),
        op.Mul(x, op.Mul(twice, 0.5)),
    )
    near = ("Tanh", "Add")

    def check(self, match: Match) -> None:
        """Type."""
        require_type(match, (self.one, self.x), SINGLE)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.Gelu(match[self.x], approximate="tanh")


RULES = (Sigmoid(), SigmoidTimes(), Softplus(), Mish(), Swish(), GeluExact(), GeluTanh())
