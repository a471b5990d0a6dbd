"""LayerNormalization and RMSNormalization.

The core becomes the operator with a scale of ones; a Mul behind it becomes the scale and an Add the bias, and Casts
round it go: each step is a rule of its own, and a correct model by itself.

LayerNormalization: (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * scale + bias over the last axes (Ba et al.,
2016; ONNX opset 17). RMSNormalization: x / sqrt(mean(x^2) + epsilon) * scale (Zhang and Sennrich, 2019; opset 23).
Both compute in float32 at least: with float16 they overflow later and lose less than the spelling.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto

from onnxopt import ir
from onnxopt.ir.pattern import (
    Computed,
    Maker,
    Match,
    NoMatch,
    Term,
    any_,
    anything,
    constant,
    either,
    op,
    optional,
    scalar,
)
from onnxopt.pipeline.dialect import Composite
from onnxopt.rules.recognition.moments import (
    LARGEST_SCALE,
    fitted,
    last_axes,
    last_dims,
    mean_of,
    over_root,
    require_epsilon,
    square_of,
)
from onnxopt.rules.recognition.recognizer import SINGLE, Recognition, require_type


class _Core(Recognition):
    """What the two cores share: the operator takes the place of the core, with a scale of ones."""

    x, epsilon = any_("x"), scalar()
    means: tuple[Computed, ...]

    def check(self, match: Match) -> None:
        """Last axes of known size, float16 or float32, an epsilon that is one."""
        require_type(match, (self.epsilon, self.x), SINGLE)
        require_epsilon(match, self.epsilon)
        dims = last_dims(match, match[self.x], last_axes(match, *self.means))
        if math.prod(dims) > LARGEST_SCALE:
            raise NoMatch(f"a scale of {math.prod(dims)} ones would have to be made")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        count = last_axes(match, *self.means)
        ones = np.ones(last_dims(match, match[self.x], count), match.value(self.epsilon).dtype)
        return op.make(self.composite or "", match[self.x], ones, axis=-count, epsilon=match.number(self.epsilon))


class LayerNorm(_Core):
    """The core, in torch's spelling below opset 17 (Pow), tf2onnx's (Mul), and with the difference computed twice."""

    composite = "LayerNormalization"
    what = "recognize LayerNormalization: (x - mean) / sqrt(variance + epsilon)"
    since = 17
    near = ("Sqrt", "ReduceMean", "Sub")
    _mean = mean_of(_Core.x)
    _variance = mean_of(square_of(op.Sub(_Core.x, _mean)))
    means = (_mean, _variance)
    pattern = over_root(op.Sub(_Core.x, _mean), op.Add(_variance, _Core.epsilon))


class RmsNorm(_Core):
    """The core: Llama and T5 in transformers."""

    composite = "RMSNormalization"
    what = "recognize RMSNormalization: x / sqrt(mean(x^2) + epsilon)"
    since = 23
    near = ("Sqrt", "ReduceMean")
    _mean = mean_of(square_of(_Core.x))
    means = (_mean,)
    pattern = over_root(_Core.x, op.Add(_mean, _Core.epsilon))


class LayerNormByMoments(Recognition):
    """x inv + (bias - mean inv) with inv = scale / sqrt(variance + epsilon): tf.nn.batch_normalization in Keras."""

    composite = "LayerNormalization"
    what = "recognize LayerNormalization: x inv + (bias - mean inv)"
    since = 17
    near = ("Sqrt", "ReduceMean", "Sub")
    x, epsilon, scale, bias = any_("x"), scalar(), any_("scale"), any_("bias")
    mean = mean_of(x)
    variance = mean_of(square_of(op.Sub(x, mean)))
    root = op.Sqrt(op.Add(variance, epsilon))
    inverse = op.Mul(either(op.Reciprocal(root), op.Div(1, root)), scale)
    pattern = op.Add(op.Mul(x, inverse), op.Sub(bias, op.Mul(mean, inverse)))

    def check(self, match: Match) -> None:
        """As for the core; scale and bias are of the shape that is normalized."""
        require_type(match, (self.epsilon, self.x), SINGLE)
        require_epsilon(match, self.epsilon)
        self._fitted(match)

    def _fitted(self, match: Match) -> tuple[ir.Tensor | np.ndarray, ir.Tensor | np.ndarray]:
        dims = last_dims(match, match[self.x], last_axes(match, self.mean, self.variance))
        rank = len(match.shape(match[self.x]))
        return fitted(match, match[self.scale], dims, rank), fitted(match, match[self.bias], dims, rank)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        axis, epsilon = -last_axes(match, self.mean, self.variance), match.number(self.epsilon)
        return op.LayerNormalization(match[self.x], *self._fitted(match), axis=axis, epsilon=epsilon)


class _Absorb(Recognition):
    """A Mul or Add behind the operator becomes its scale or bias."""

    x, scale, given = any_("x"), constant(), any_("scale or bias")
    normalized: Computed

    def check(self, match: Match) -> None:
        """It acts on just the axes that are normalized."""
        self._fitted(match)

    def _fitted(self, match: Match) -> ir.Tensor | np.ndarray:
        rank = len(match.shape(match[self.x]))
        axis = match.attr(self.normalized, "axis")
        dims = last_dims(match, match[self.x], rank - axis if axis >= 0 else -axis)
        return fitted(match, match[self.given], dims, rank)

    def _attributes(self, match: Match) -> dict[str, Any]:
        return dict(match.node(self.normalized).attrs)


def _normalized(name: str, *inputs: Term) -> Computed:
    return op.make(name, *inputs, axis=anything, epsilon=anything, stash_type=anything)


class Scale(_Absorb):
    """Normalization(x, 1) * scale = Normalization(x, scale)."""

    ones = constant(lambda array: array.size > 0 and bool(np.all(array == 1)))

    def __init__(self, composite: Composite, since: int) -> None:
        self.composite, self.since = composite, since
        self.near = (composite,)
        self.what = f"make Mul the scale of {composite}"
        self.normalized = _normalized(composite, self.x, self.ones)
        self.pattern = op.Mul(self.normalized, self.given)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """The same node with another scale."""
        return op.make(self.composite or "", match[self.x], self._fitted(match), **self._attributes(match))


class Bias(_Absorb):
    """LayerNormalization(x, scale) + bias = LayerNormalization(x, scale, bias)."""

    composite = "LayerNormalization"
    what = "make Add the bias of LayerNormalization"
    since = 17
    near = ("LayerNormalization",)
    normalized = _normalized("LayerNormalization", _Absorb.x, _Absorb.scale)
    pattern = op.Add(normalized, _Absorb.given)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """The same node with a bias."""
        inputs = (match[self.x], match[self.scale], self._fitted(match))
        return op.LayerNormalization(*inputs, **self._attributes(match))


class WithoutCasts(Recognition):
    """Cast to float16 (Normalization (Cast to float32 (x))) is Normalization(x): it computes in float32 anyway.

    Exports of half-precision models spell it so. The scale and bias have to be the same numbers in float16.
    """

    def __init__(self, composite: Composite, since: int) -> None:
        self.composite, self.since = composite, since
        self.near = (composite,)
        self.what = f"take {composite} out of its casts to float32"
        self.x, self.scale, self.bias = any_("x"), constant(), constant()
        inputs = (op.Cast(self.x, to=TensorProto.FLOAT), self.scale)
        optionals = (optional(self.bias),) if composite == "LayerNormalization" else ()
        self.normalized = op.make(composite, *inputs, *optionals, axis=anything, epsilon=anything)
        self.pattern = op.Cast(self.normalized, to=TensorProto.FLOAT16)

    def check(self, match: Match) -> None:
        """The input is float16, and nothing is lost in scale and bias."""
        require_type(match, (self.x,), (np.dtype(np.float16),))
        self._narrowed(match)

    def _narrowed(self, match: Match) -> list[np.ndarray]:
        found = []
        for term in (self.scale, self.bias):
            if term in match:
                value = match.value(term)
                with np.errstate(over="ignore"):
                    narrow = value.astype(np.float16)
                if not np.array_equal(narrow.astype(np.float32), value):
                    raise NoMatch(f"'{match[term].name}' is not exact in float16")
                found.append(narrow)
        return found

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """The same node, of float16."""
        attributes = dict(match.node(self.normalized).attrs)
        return op.make(self.composite or "", match[self.x], *self._narrowed(match), **attributes)


RULES = (
    LayerNorm(),
    LayerNormByMoments(),
    RmsNorm(),
    Scale("LayerNormalization", 17),
    Scale("RMSNormalization", 23),
    Bias(),
    WithoutCasts("LayerNormalization", 17),
    WithoutCasts("RMSNormalization", 23),
)
