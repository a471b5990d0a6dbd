"""Coremltools' own value inference, asked about one operation with values that it has never seen."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Operation, types

from onnxopt.backends.coreml.evaluator.registry import Array, Call


class _Known:
    """Stands for a Var of which the value is known."""

    def __init__(self, var: Any, value: Array) -> None:
        self.name, self.dtype, self.op = var.name, var.dtype, getattr(var, "op", None)
        self.shape, self.rank = tuple(value.shape), value.ndim
        self.val = self.sym_val = value if value.ndim else value.item() if value.dtype == bool else value[()]
        self.sym_type = types.tensor(var.dtype, self.shape) if value.ndim else var.dtype


def infers(op: Any) -> bool:
    """Whether coremltools can tell what an operation gives."""
    kind = type(op)
    return kind.value_inference is not Operation.value_inference or hasattr(kind, "materialized_val_inference")


def inferred(call: Call) -> Any:
    """What an operation gives: an array or several; None where the inference does not tell.

    Floating-point numbers of 16 bits go in as float32: the inference of a softmax or a sum would otherwise round
    between its steps, where a device rounds the result.

    Raises:
        NotEvaluable: The inference does not take these inputs.
    """
    op = call.op
    asked = copy.copy(op)
    asked._input_vars = dict(op._input_vars)
    for name, value in call.values.items():
        var = op.inputs[name]
        known: Any
        if isinstance(var, (list, tuple)):
            known = tuple(_Known(each, _wide(one)) for each, one in zip(var, value, strict=True))
        elif isinstance(value, str):
            continue
        else:
            known = _Known(var, _wide(np.asarray(value)))
        asked._input_vars[name] = known
        setattr(asked, name, known)
    materializes = hasattr(op, "materialized_val_inference")
    try:
        return asked.materialized_val_inference() if materializes else asked.value_inference()
    except (NotImplementedError, ValueError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise call.refuse(
            f"coremltools' inference says {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _wide(value: Array) -> Array:
    """A copy: some inferences write into their input."""
    return value.astype(np.float32) if value.dtype == np.float16 else np.array(value)
