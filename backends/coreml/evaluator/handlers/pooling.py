"""`avg_pool`, `max_pool`, `l2_pool`: coremltools/converters/mil/mil/ops/defs/iOS15/pool.py."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from onnxopt.backends.coreml.evaluator.handlers.convolution import pads_of
from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


@evaluates("max_pool")
def _max_pool(call: Call) -> Array:
    windows, axes = _windows(call, call.wide("x"), -np.inf)
    return np.asarray(windows.max(axes))


@evaluates("l2_pool")
def _l2_pool(call: Call) -> Array:
    windows, axes = _windows(call, np.square(call.wide("x")), 0)
    return np.asarray(np.sqrt(windows.sum(axes, dtype=np.float32)))


@evaluates("avg_pool")
def _avg_pool(call: Call) -> Array:
    """With `ceil_mode`, what a window has beyond the padding counts for nothing, as in PyTorch."""
    x = call.wide("x")
    windows, axes = _windows(call, x, 0)
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    excludes = bool(call.scalar("exclude_padding_from_average", False))
    counts, _ = _windows(call, counted, 0, 0 if excludes else 1)
    return np.asarray(windows.sum(axes, dtype=np.float32) / counts.sum(axes))


def _windows(call: Call, x: Array, beyond: float, padded: float | None = None) -> tuple[Array, tuple[int, ...]]:
    """Every window, and the axes that go along it; `padded` is in the padding, `beyond` behind it."""
    spatial = x.ndim - 2
    kernel = call.ints("kernel_sizes")
    strides = call.ints("strides", [1] * spatial)
    pads = pads_of(call, x.shape[2:], kernel, strides)
    sizes = [size + sum(pad) for size, pad in zip(x.shape[2:], pads, strict=True)]
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=beyond if padded is None else padded)
    behind = []
    for size, window, stride, (before, after), full in zip(
        call["x"].shape[2:], kernel, strides, pads, sizes, strict=True
    ):
        count = (full - window) // stride + 1
        if call.scalar("ceil_mode", False):
            count = -(-(full - window) // stride) + 1
            if (count - 1) * stride >= size + before and before + after > 0:
                count -= 1
        behind.append((0, max(0, (count - 1) * stride + window - full)))
    x = np.pad(x, [(0, 0), (0, 0), *behind], constant_values=beyond)
    found = sliding_window_view(x, kernel, axis=tuple(range(2, x.ndim)))
    steps = (slice(None), slice(None), *(slice(None, None, stride) for stride in strides))
    return found[steps], tuple(range(x.ndim, x.ndim + spatial))
