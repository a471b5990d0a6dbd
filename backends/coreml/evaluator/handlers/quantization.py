"""`quantize` and `dequantize`: coremltools/converters/mil/mil/ops/defs/iOS17/quantization_ops.py; `classify`."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


def _along(call: Call, name: str) -> Array:
    """A scale or zero point, a vector along `axis` of the input; zero where it is not given."""
    value = call.wide(name) if call.has(name) else np.zeros((), np.int8)
    if value.ndim == 0:
        return value
    shape = [1] * call["input"].ndim
    shape[int(call.scalar("axis"))] = -1
    return value.reshape(shape)


@evaluates("quantize")
def _quantize(call: Call) -> Array:
    """clip(round(input / scale) + zero_point), in float32; ties go to even, as in coremltools' inference."""
    limits = np.iinfo(np.dtype(call.scalar("output_dtype")))
    found = np.rint(call.wide("input") / _along(call, "scale")) + _along(call, "zero_point")
    return np.asarray(np.clip(found, limits.min, limits.max))


@evaluates("dequantize")
def _dequantize(call: Call) -> Array:
    """scale * (input - zero_point)."""
    whole = call["input"].astype(np.float32) - _along(call, "zero_point")
    return np.asarray(whole * _along(call, "scale"))


@evaluates("classify")
def _classify(call: Call) -> list[Any]:
    """The most probable class, and every class with its probability."""
    probabilities = call["probabilities"].reshape(-1)
    classes = list(np.asarray(call.values["classes"]).reshape(-1).tolist())
    return [str(classes[int(probabilities.argmax())]), dict(zip(classes, probabilities.tolist(), strict=True))]
