"""One layer pruned to second order: what goes costs least in what the layer gives out, and what is left makes it good.

Small layers are pruned exactly, weight by weight (`brain_surgeon`), larger ones `in_rounds`, and the largest in one
sweep (`sparse_sweep`).
"""

from __future__ import annotations

import numpy as np

from onnxopt.activations.compensation import Floats, output_error
from onnxopt.activations.second_order import SecondOrder
from onnxopt.linear.layer import Array, Layer
from onnxopt.linear.match import NoMatch, as_float64, rounded
from onnxopt.pruning.brain_surgeon import removal_errors
from onnxopt.pruning.in_rounds import errors_in_rounds
from onnxopt.pruning.least_squares import refit
from onnxopt.pruning.masks import Keep
from onnxopt.pruning.patterns import Pattern, Scores, select
from onnxopt.pruning.sparse_sweep import sweep, sweep_kept

_EXACT = 4e9
"""Outputs times the cube of the weights of each, up to which a layer is pruned exactly: some seconds."""
_IN_ROUNDS = 1e11
"""The same, up to which it is pruned in rounds: some ten seconds."""
_SOLVED = 5e11
"""The same, up to which the weights that are left are solved for."""


def prune_layer(
    layer: Layer, seen: SecondOrder, sparsity: float, pattern: Pattern, already: Keep | None = None
) -> tuple[Array, Array | None, Keep]:
    """New weights of which so many are zero, a new bias where the layer has one, and what is kept.

    Args:
        layer: A Conv, Gemm or MatMul.
        seen: Its data.
        sparsity: Share of weights to be zero, 0 to 1; nothing for N:M.
        pattern: Where zeros may lie.
        already: What a mask keeps, of the weight's shape; weights that are zero are masked in any case.

    Raises:
        NoMatch: No data were seen, or the new weights cannot be held in the type of the old ones.
        ValueError: The layer cannot have the pattern.
    """
    scores = increments(layer, seen, pattern, sparsity, already)
    keep = _restored(layer, select(scores, sparsity, pattern, _kernel(layer)))
    weight, bias = fit_layer(layer, seen, keep)
    return weight, bias, keep


def increments(
    layer: Layer, seen: SecondOrder, pattern: Pattern, sparsity: float = 0.5, already: Keep | None = None
) -> Scores:
    """What the removal of each weight adds to the summed squared error of the outputs, [outputs, inputs * kernel].

    -inf where a weight is zero already. Those of all layers can be compared once each is multiplied with what an error
    of its layer does to the model.

    Args:
        layer: A Conv, Gemm or MatMul.
        seen: Its data.
        pattern: Where zeros will lie.
        sparsity: How many weights will be zero, about: a sweep over a large layer needs to know.
        already: What a mask keeps, of the weight's shape.

    Raises:
        NoMatch: No data were seen.
    """
    weights, moments = _weights(layer, already), _moments(layer, seen)
    groups, outputs, size = weights.shape
    work = groups * outputs * float(size) ** 3
    if work <= _EXACT:
        found = removal_errors(weights.reshape(-1, size), moments, pattern, _kernel(layer))
    elif work <= _IN_ROUNDS:
        found = errors_in_rounds(weights.reshape(-1, size), moments, sparsity, pattern, _kernel(layer))
    else:
        swept = sweep(weights, moments, sparsity, pattern, _kernel(layer))
        kept = np.inf if pattern.of else swept.errors
        found = np.where(swept.keep, kept, swept.errors).reshape(-1, size)
    return np.where(weights.reshape(-1, size) == 0, -np.inf, found)


def fit_layer(layer: Layer, seen: SecondOrder, keep: Keep) -> tuple[Array, Array | None]:
    """Weights that are zero where `keep`, of the weight's shape, is False, and a bias where the layer has one.

    The others give out most nearly what the layer gave out, in the mean of the squares. The mean of what is left of the
    error goes into the bias.

    Raises:
        NoMatch: No data were seen, or the type of the weights cannot hold them.
    """
    weights, moments = _weights(layer, keep=None), _moments(layer, seen)
    groups, outputs, size = weights.shape
    kept = layer.canonical(keep).reshape(weights.shape) & (weights != 0)
    if groups * outputs * float(size) ** 3 <= _SOLVED:
        found = refit(weights.reshape(-1, size), moments, kept.reshape(-1, size)).reshape(weights.shape)
    else:
        found = sweep_kept(weights, moments, kept)
    masked = np.where(kept, weights, 0.0)
    is_better = output_error(found - weights, moments) < output_error(masked - weights, moments)
    found = np.where(is_better[:, :, np.newaxis], found, masked)
    weight = np.empty(layer.weight.shape, layer.weight.dtype)
    target = layer.canonical(weight)
    with np.errstate(over="ignore"):
        target[...] = found.reshape(target.shape).astype(weight.dtype)
    if not np.isfinite(weight).all():
        raise NoMatch(f"its weights would not be finite in {weight.dtype}")
    if layer.bias is None or not _has_bias(layer):
        return weight, None
    error = (target.reshape(weights.shape).astype(np.float64) - weights) @ seen.mean[:, :, np.newaxis]
    return weight, rounded(as_float64(layer.bias) - error.reshape(-1), layer.bias.dtype, "bias")


def energy(layer: Layer, seen: SecondOrder) -> float:
    """The mean square of what the weights give out, summed over the outputs: their increments are parts of it."""
    return float(output_error(_weights(layer, keep=None), seen.moments(centered=False)).sum())


def error_of(layer: Layer, seen: SecondOrder, weight: Array) -> float:
    """The mean square of the error that other weights make, summed over the outputs; without what a bias takes."""
    new = layer.canonical(weight)
    weights = _weights(layer, keep=None)
    return float(output_error(new.reshape(weights.shape).astype(np.float64) - weights, _moments(layer, seen)).sum())


def _weights(layer: Layer, keep: Keep | None) -> Floats:
    """As [group, output, weight]."""
    canonical = layer.canonical(layer.weight.read()).astype(np.float64)
    if keep is not None:
        canonical = np.where(layer.canonical(keep), canonical, 0.0)
    return canonical.reshape(*canonical.shape[:2], -1)


def _moments(layer: Layer, seen: SecondOrder) -> Floats:
    if not seen.positions:
        raise NoMatch("no data came")
    return seen.moments(centered=_has_bias(layer))


def _has_bias(layer: Layer) -> bool:
    """Whether there is one for each output, to take the mean of the error."""
    return layer.bias is not None and layer.alpha == layer.beta == 1.0 and layer.bias.shape == (layer.outputs,)


def _kernel(layer: Layer) -> int:
    return int(np.prod(layer.weight.shape[2:])) if layer.node.is_op("Conv") else 1


def _restored(layer: Layer, keep: Keep) -> Keep:
    found = np.empty(layer.weight.shape, np.bool_)
    view = layer.canonical(found)
    view[...] = keep.reshape(view.shape)
    return found
