"""Normalizations: coremltools/converters/mil/mil/ops/defs/iOS15/normalization.py."""

from __future__ import annotations

import numpy as np

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


def _along_channels(value: Array, rank: int) -> Array:
    return value.reshape(1, -1, *[1] * (rank - 2))


@evaluates("batch_norm")
def _batch_norm(call: Call) -> Array:
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, along axis 1."""
    x = call.wide("x")
    mean, variance = (_along_channels(call.wide(name), x.ndim) for name in ("mean", "variance"))
    return _scaled(call, (x - mean) / np.sqrt(variance + call.wide("epsilon")))


@evaluates("instance_norm")
def _instance_norm(call: Call) -> Array:
    """The same with mean and variance of each sample's channel."""
    x = call.wide("x")
    axes = tuple(range(2, x.ndim))
    centred = x - x.mean(axes, keepdims=True, dtype=np.float64)
    variance = np.square(centred).mean(axes, keepdims=True)
    return _scaled(call, centred / np.sqrt(variance + call.wide("epsilon")))


def _scaled(call: Call, x: Array) -> Array:
    gamma, beta = call.optional("gamma"), call.optional("beta")
    x = x if gamma is None else x * _along_channels(gamma, x.ndim)
    return x if beta is None else x + _along_channels(beta, x.ndim)


@evaluates("local_response_norm")
def _local_response_norm(call: Call) -> Array:
    """x / (k + alpha / size * sum of squares of the `size` channels around)^beta.

    The documentation does not say where an even `size` has its odd one.
    """
    x, size = call.wide("x").astype(np.float64), int(call.scalar("size"))
    if size % 2 == 0:
        raise call.refuse(f"size is {size}, and the documentation does not say where an even window lies")
    channels = x.shape[1]
    total = np.zeros_like(x)
    for step in range(-(size // 2), size // 2 + 1):
        into = slice(max(0, -step), min(channels, channels - step))
        of = slice(max(0, step), min(channels, channels + step))
        if into.start < into.stop:
            total[:, into] += np.square(x[:, of])
    scale = call.scalar("k", 1.0) + call.scalar("alpha", 1e-4) / size * total
    return np.asarray(x / scale ** call.scalar("beta", 0.75))
