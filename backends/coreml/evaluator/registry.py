"""Which function evaluates an operation of MIL, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from coremltools import target

from onnxopt.errors import CheckFailed

Array: TypeAlias = "npt.NDArray[Any]"
Handler = Callable[["Call"], Any]
"""Gives an array, or a sequence of arrays where the operation has several outputs."""
_HANDLERS: dict[str, Handler] = {}


class NotEvaluable(CheckFailed):
    """An operation cannot be evaluated here; the text names it."""


class Call:
    """An operation with the values of its inputs."""

    def __init__(self, op: Any, values: dict[str, Any], sessions: dict[Any, Any]) -> None:
        self.op = op
        """As coremltools has it."""
        self.values = values
        """By the name of the parameter: an array, or a list of them; what is not given is absent."""
        self.sessions = sessions
        """Made for this operation, kept from run to run."""

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self.values[name])

    def has(self, name: str) -> bool:
        """Whether a parameter is given."""
        return name in self.values

    def wide(self, name: str) -> Array:
        """An input, float16 as float32: sums and products inside one operation are not rounded, results are."""
        value = self[name]
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def optional(self, name: str) -> Array | None:
        """As `wide`; None where it is not given."""
        return self.wide(name) if self.has(name) else None

    def many(self, name: str) -> list[Array]:
        """A parameter that is a tuple of tensors."""
        return [np.asarray(value) for value in self.values[name]]

    def ints(self, name: str, default: Any = None) -> Any:
        """A vector of integers; the default where it is not given."""
        return [int(each) for each in np.atleast_1d(self[name])] if self.has(name) else default

    def scalar(self, name: str, default: Any = None) -> Any:
        """A number, a string or a truth value; the default where it is not given."""
        return self[name].item() if self.has(name) else default

    def is_constant(self, name: str) -> bool:
        """Whether a parameter is the same in every run."""
        producer = getattr(self.op.inputs[name], "op", None)
        return producer is not None and (producer.op_type == "const" or producer.op_type.startswith("constexpr_"))

    @property
    def since_ios17(self) -> bool:
        """Whether this is the version of the operation that came with iOS 17, or a newer one."""
        return bool(self.op.opset_version >= target.iOS17)

    def refuse(self, why: str) -> NotEvaluable:
        """The error to raise where the documentation does not say what comes out."""
        return NotEvaluable(f"the operation {self.op.op_type} '{self.op.name}' cannot be evaluated here: {why}")


def evaluates(*kinds: str) -> Callable[[Handler], Handler]:
    """Register a function for operations."""

    def register(function: Handler) -> Handler:
        for kind in kinds:
            if kind in _HANDLERS:
                raise TypeError(f"{kind} is evaluated by {_HANDLERS[kind].__name__} already")
            _HANDLERS[kind] = function
        return function

    return register


def handler_of(kind: str) -> Handler | None:
    """The function for an operation; None where coremltools' own inference is asked."""
    return _HANDLERS.get(kind)
