"""What is normalized for each channel or vector: InstanceNormalization, GroupNormalization, LpNormalization; and
GlobalAveragePool.
"""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir.pattern import Maker, Match, NoMatch, Term, any_, anything, constant, either, op, scalar
from onnxopt.ir.proven import lowest
from onnxopt.rules.recognition.moments import last_axes, mean_of, over_root, require_epsilon, square_of
from onnxopt.rules.recognition.recognizer import SINGLE, Recognition, require_type


def per_channel(match: Match, term: Term, channels: int, rank: int) -> np.ndarray:
    """The numbers of a constant that acts on the channels, axis 1, of a tensor of this rank.

    Raises:
        NoMatch: It is no constant of one number for each channel.
    """
    value = match.value(term)
    wanted = (channels, *[1] * (rank - 2))
    if value.ndim > rank or value.shape[max(value.ndim - rank + 1, 0) :] != wanted or value.size != channels:
        raise NoMatch(f"'{match[term].name}' of shape {list(value.shape)} is not one number for each channel")
    return value.reshape(channels)


def channels_of(match: Match, tensor: ir.Tensor) -> tuple[int, int]:
    """How many channels a tensor has, and its rank.

    Raises:
        NoMatch: That is not certain.
    """
    shape = match.shape(tensor)
    if len(shape) < 3 or shape[1] is None:
        raise NoMatch(f"the channels of '{tensor.name}' are not certain")
    return shape[1], len(shape)


def require_pixels(match: Match, tensor: ir.Tensor) -> None:
    """Refuse images that may have none, of which means are NaN: onnxruntime's pools and norms fail there (1.31).

    Raises:
        NoMatch: Height, width or another axis of the image may be 0.
    """
    dims = match.shapes.dims(tensor)
    if dims is None or not all((lowest(dim) or 0) > 0 for dim in dims[2:]):
        raise NoMatch(f"'{tensor.name}' may be an image without pixels, which the operator does not take")


class InstanceNorm(Recognition):
    """(x - mean) / sqrt(variance + epsilon) over all spatial axes, two or more of them: tf and jax by hand.

    With one spatial axis it is taken for a LayerNormalization.
    """

    composite = "InstanceNormalization"
    what = "recognize InstanceNormalization: (x - mean) / sqrt(variance + epsilon) over all spatial axes"
    near = ("Sqrt", "ReduceMean", "Sub")
    x, epsilon = any_("x"), scalar()
    mean = mean_of(x)
    variance = mean_of(square_of(op.Sub(x, mean)))
    pattern = over_root(op.Sub(x, mean), op.Add(variance, epsilon))

    def check(self, match: Match) -> None:
        """All spatial axes of a known number of channels."""
        rank = len(match.shape(match[self.x]))
        if rank < 4 or last_axes(match, self.mean, self.variance) != rank - 2:
            raise NoMatch("")
        channels_of(match, match[self.x])
        require_pixels(match, match[self.x])
        require_type(match, (self.epsilon, self.x), SINGLE)
        require_epsilon(match, self.epsilon)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """With a scale of ones and a bias of zeros."""
        channels, _ = channels_of(match, match[self.x])
        ones = np.ones(channels, match.value(self.epsilon).dtype)
        return op.InstanceNormalization(match[self.x], ones, 0 * ones, epsilon=match.number(self.epsilon))


_ONES = constant(lambda array: bool(np.all(array == 1)))
_ZEROS = constant(lambda array: not np.any(array))


class InstanceScale(Recognition):
    """InstanceNormalization(x, 1, 0) * scale for each channel."""

    composite = "InstanceNormalization"
    what = "make Mul the scale of InstanceNormalization"
    near = ("InstanceNormalization",)
    x, scale = any_("x"), constant()
    normalized = op.InstanceNormalization(x, _ONES, _ZEROS, epsilon=anything)
    pattern = op.Mul(normalized, scale)

    def check(self, match: Match) -> None:
        """Per channel."""
        per_channel(match, self.scale, *channels_of(match, match[self.x]))

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """The same node with another scale."""
        scale = per_channel(match, self.scale, *channels_of(match, match[self.x]))
        epsilon = match.attr(self.normalized, "epsilon")
        return op.InstanceNormalization(match[self.x], scale, match[_ZEROS], epsilon=epsilon)


class InstanceBias(Recognition):
    """InstanceNormalization(x, scale, 0) + bias for each channel."""

    composite = "InstanceNormalization"
    what = "make Add the bias of InstanceNormalization"
    near = ("InstanceNormalization",)
    x, scale, bias = any_("x"), any_("scale"), constant()
    normalized = op.InstanceNormalization(x, scale, _ZEROS, epsilon=anything)
    pattern = op.Add(normalized, bias)

    def check(self, match: Match) -> None:
        """Per channel."""
        per_channel(match, self.bias, *channels_of(match, match[self.x]))

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """The same node with a bias."""
        bias = per_channel(match, self.bias, *channels_of(match, match[self.x]))
        epsilon = match.attr(self.normalized, "epsilon")
        return op.InstanceNormalization(match[self.x], match[self.scale], bias, epsilon=epsilon)


class GroupNorm(Recognition):
    """Reshape to [N, groups, -1], InstanceNormalization, Reshape back, Mul, Add: nn.GroupNorm in torch.

    Since opset 21: GroupNormalization-18 has a scale for each group, and is deprecated.
    """

    composite = "GroupNormalization"
    what = "recognize GroupNormalization: Reshape, InstanceNormalization, Reshape, Mul, Add"
    since = 21
    near = ("InstanceNormalization", "Reshape", "Mul")
    x, back = any_("x"), any_("shape")
    ones = constant(lambda array: bool(np.all(array == 1)))
    zeros = constant(lambda array: not np.any(array))
    scale, bias = constant(), constant()
    grouped = op.Reshape(x, constant())
    normalized = op.InstanceNormalization(grouped, ones, zeros, epsilon=anything)
    reshaped = op.Reshape(normalized, back)
    pattern = op.Add(op.Mul(reshaped, scale), bias)

    def check(self, match: Match) -> None:
        """The groups are of whole channels, the shape comes back as it was, scale and bias are per channel."""
        require_type(match, (self.scale, self.x), SINGLE)
        shape, groups = match.shape(match[self.x]), match.value(self.ones).size
        channels = shape[1] if len(shape) > 2 else None
        if channels is None or channels % groups:
            raise NoMatch(f"'{match[self.x].name}' is not certain to have channels that {groups} groups share evenly")
        if match.ints(self.grouped, 1, "shape") not in ([0, groups, -1], [shape[0], groups, -1]):
            raise NoMatch(f"'{match[self.grouped].name}' is not of the shape [N, {groups}, -1]")
        self._require_same_shape(match, shape)
        for term in (self.scale, self.bias):
            per_channel(match, term, channels, len(shape))

    def _require_same_shape(self, match: Match, shape: tuple[int | None, ...]) -> None:
        source = match[self.back].producer
        if source is not None and source.is_op("Shape") and not source.attrs and source.inputs[0] is match[self.x]:
            return
        if None in shape[1:] or match.shape(match[self.reshaped]) != shape:
            raise NoMatch(f"'{match[self.reshaped].name}' is not certain to have the shape of '{match[self.x].name}'")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        shape, groups = match.shape(match[self.x]), match.value(self.ones).size
        scale, bias = (per_channel(match, t, shape[1] or 0, len(shape)) for t in (self.scale, self.bias))
        epsilon = match.attr(self.normalized, "epsilon")
        return op.GroupNormalization(match[self.x], scale, bias, epsilon=epsilon, num_groups=groups)


class GlobalPool(Recognition):
    """The mean over two or more spatial axes, all there are, kept: x.mean([2, 3], keepdim=True) in torch.

    Not over one: that is the mean of a LayerNormalization, which engines look for; nor a mean or variance that a
    spelled-out normalization of images takes.
    """

    composite = "GlobalAveragePool"
    what = "recognize GlobalAveragePool: the mean over all spatial axes"
    x = any_("x")
    pattern = op.ReduceMean(x, ..., axes=anything, keepdims=1)

    def check(self, match: Match) -> None:
        """All axes behind the second; plain means over others are no near match."""
        axes = match.ints(self.pattern, 1, "axes") or []
        rank = len(match.shape(match[self.x]))
        if rank < 4 or sorted(axis % rank for axis in axes) != list(range(2, rank)):
            raise NoMatch("")
        source, readers = match[self.x].producer, match[self.pattern].outputs
        is_square = source is not None and (
            source.is_op("Pow") or (source.is_op("Mul") and len(set(source.inputs)) == 1)
        )
        if is_square or any(reader.is_op("Sub") for reader in readers):
            raise NoMatch(f"'{match[self.pattern].name}' looks like part of a normalization")
        require_pixels(match, match[self.x])
        require_type(match, (self.x,), SINGLE)

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.GlobalAveragePool(match[self.x])


class LpNorm(Recognition):
    """x / |x| and x / max(|x|, epsilon): F.normalize in torch.

    LpNormalization makes unit vectors of those shorter than epsilon too, and of a vector of zeros one of zeros, where
    x / |x| is NaN: so this is done only where asked for.
    """

    composite = "LpNormalization"
    what = "recognize LpNormalization: x / max(|x|, epsilon)"
    near = ("ReduceL2",)
    x, epsilon = any_("x"), scalar()
    length = op.ReduceL2(x, ..., axes=anything, keepdims=1)
    bounded = either(op.Clip(length, epsilon), op.Max(length, epsilon), length)
    pattern = op.Div(x, either(op.Expand(bounded, op.Shape(x)), bounded))

    def __init__(self, short_vectors: bool) -> None:
        self.short_vectors = short_vectors

    def check(self, match: Match) -> None:
        """One axis, a small epsilon, and leave to differ."""
        axes = match.ints(self.length, 1, "axes")
        if axes is None or len(axes) != 1:
            raise NoMatch(f"the length is over the axes {axes}, and that is not one")
        if self.epsilon in match and not 0 < match.number(self.epsilon) <= _SHORT:
            raise NoMatch(f"the epsilon '{match[self.epsilon].name}' is {match.number(self.epsilon):g}")
        require_type(match, (self.epsilon, self.x), SINGLE)
        if not self.short_vectors:
            raise NoMatch("vectors of length zero, or below epsilon, would differ: allow it with short-vectors=true")

    def rewrite(self, match: Match, op: Maker) -> ir.Node:
        """One node."""
        return op.LpNormalization(match[self.x], axis=(match.ints(self.length, 1, "axes") or [-1])[0], p=2)


_SHORT = 1e-6

RULES = (InstanceNorm(), InstanceScale(), InstanceBias(), GroupNorm())
POOLS = (GlobalPool(),)
"""Tried when no mean is part of a normalization any more."""
