"""Elementwise operations: iOS15/activation.py, elementwise_unary.py, control_flow.py of coremltools' definitions."""

from __future__ import annotations

import numpy as np

from onnxopt.backends.coreml.evaluator.handlers.sessions import run_operator
from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


@evaluates("silu")
def _silu(call: Call) -> Array:
    x = call.wide("x")
    return np.asarray(x / (1 + np.exp(-x)))


@evaluates("erf")
def _erf(call: Call) -> Array:
    """Coremltools' inference goes through Python for each number."""
    return _error_function(call, call.wide("x"))


@evaluates("gelu")
def _gelu(call: Call) -> Array:
    """As `erf`."""
    x = call.wide("x")
    mode = call.scalar("mode", "EXACT")
    if mode == "EXACT":
        return np.asarray(0.5 * x * (1 + _error_function(call, x * np.float32(np.sqrt(0.5)))))
    if mode == "TANH_APPROXIMATION":
        return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    if mode == "SIGMOID_APPROXIMATION":
        return np.asarray(x / (1 + np.exp(-1.702 * x)))
    raise call.refuse(f"mode is {mode!r}")


def _error_function(call: Call, x: Array) -> Array:
    return run_operator(call, "Erf", {"x": x})


@evaluates("select")
def _select(call: Call) -> Array:
    """Coremltools' inference does not take scalars in a block of a loop."""
    return np.where(call["cond"], call["a"], call["b"])


@evaluates("band_part")
def _band_part(call: Call) -> Array:
    """Coremltools' inference multiplies by zero, which makes NaN of infinities outside of the band: here they are 0."""
    x = call["x"]
    lower, upper = int(call.scalar("lower", -1)), int(call.scalar("upper", -1))
    distance = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])[None]
    band = ((lower < 0) | (distance <= lower)) & ((upper < 0) | (-distance <= upper))
    return np.where(band, x, np.zeros((), x.dtype))


@evaluates("cumsum")
def _cumsum(call: Call) -> Array:
    """Coremltools' inference fails where it is exclusive."""
    x, axis = call.wide("x"), int(call.scalar("axis", 0))
    x = np.flip(x, axis) if call.scalar("reverse", False) else x
    found = np.cumsum(x, axis, dtype=x.dtype)
    if call.scalar("exclusive", False):
        first = np.zeros_like(np.take(found, [0], axis))
        found = np.concatenate([first, np.take(found, np.arange(x.shape[axis] - 1), axis)], axis)
    return np.flip(found, axis) if call.scalar("reverse", False) else found
