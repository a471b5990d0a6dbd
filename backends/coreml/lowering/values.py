"""What ONNX tensors are in MIL: Vars, or arrays as long as nobody needs an operation for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt import ir
from onnxopt.backends.coreml.encoders import stored
from onnxopt.backends.coreml.encoders.affine import Affine
from onnxopt.backends.coreml.lowering.registry import Refused, Unknown

Array = npt.NDArray[Any]
Value: TypeAlias = Any
"""A MIL Var, or an array that is known."""

_NARROWED = {np.dtype(np.int64): np.dtype(np.int32), np.dtype(np.uint64): np.dtype(np.int32),
             np.dtype(np.uint32): np.dtype(np.int32)}  # fmt: skip
"""MIL has no integers of 64 bits (nor unsigned ones of 32): constants have to fit."""
_WIDENED = {np.dtype(ml_dtypes.int4): np.int8, np.dtype(ml_dtypes.uint4): np.uint8,
            np.dtype(ml_dtypes.int2): np.int8, np.dtype(ml_dtypes.uint2): np.uint8}  # fmt: skip
"""Nor has it tensors of fewer than 8 bits, other than as a form to store constants in."""
_END = 2.0**62
"""What is beyond this stands for the end of an axis, wherever that is."""
_RESERVED = (
    "any", "bf16", "bool", "dict", "false", "fp16", "fp32", "fp64", "func", "int16", "int32", "int64", "int8", "list",
    "program", "state", "string", "tensor", "true", "tuple", "uint16", "uint32", "uint64", "uint8",
)  # fmt: skip
"""Words of MIL's own: coremltools renames what is called so."""
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]")


class Values:
    """The tensors of a model, in every scope."""

    def __init__(self, target: Any, types_of: dict[ir.Tensor, Any]) -> None:
        self.target = target
        self.notes: list[str] = []
        """What is otherwise than in ONNX, one line each."""
        self.affines: list[Affine] = []
        """The constants that the graph has in integers: how they are stored is decided when all is lowered."""
        self._types = types_of
        self._values: dict[ir.Tensor, Value] = {}
        self._vars: dict[ir.Tensor, Any] = {}
        self._names: dict[ir.Tensor, str] = {}
        self._taken: set[str] = set(_RESERVED)

    def name_of(self, tensor: ir.Tensor) -> str:
        """MIL's name of a tensor: letters, digits and underscores, no two alike."""
        if tensor not in self._names:
            self._names[tensor] = self.fresh(tensor.name)
        return self._names[tensor]

    def fresh(self, name: str) -> str:
        """A name like this one that no operation has."""
        plain = _NOT_A_NAME.sub("_", name) or "unnamed"
        if plain[0].isdigit():
            plain = f"_{plain}"
        found, number = plain, 0
        while found in self._taken:
            number += 1
            found = f"{plain}_{number}"
        self._taken.add(found)
        return found

    def set(self, tensor: ir.Tensor, value: Value) -> None:
        """Say what a tensor is."""
        self._values[tensor] = value
        self._vars.pop(tensor, None)

    def knows(self, tensor: ir.Tensor) -> bool:
        """Whether what computes a tensor was lowered."""
        return isinstance(tensor, ir.Constant) or tensor in self._values

    def of(self, tensor: ir.Tensor) -> Value:
        """An array for a constant, in MIL's element types; else a Var."""
        if tensor not in self._values:
            if not isinstance(tensor, ir.Constant):
                raise Unknown(f"'{tensor.name}' is no tensor that could be lowered")
            self._values[tensor] = narrowed(tensor.read(), tensor.name)
        return self._values[tensor]

    def var(self, tensor: ir.Tensor, name: str = "") -> Any:
        """A Var, of a constant too; each constant is stored once."""
        value = self.of(tensor)
        if not isinstance(value, np.ndarray):
            return value
        if not value.size:
            raise Refused(f"'{tensor.name}' is empty, of shape {list(value.shape)}; Core ML has no empty tensors")
        if value.ndim > 5:
            raise Refused(f"'{tensor.name}' is of rank {value.ndim}; Core ML has at most 5")
        if tensor not in self._vars:
            self._vars[tensor] = stored(value, name or self.fresh(tensor.name or "constant"), self.target)
        return self._vars[tensor]

    @contextmanager
    def scope(self, nested: bool = True) -> Iterator[None]:
        """What is lowered in it may be lowered again: its tensors are unknown outside, and named anew.

        Args:
            nested: It is a block of MIL of its own: constants that are made in it are not seen outside.
        """
        values, made, names = self._values, self._vars, self._names
        self._values, self._names = dict(values), dict(names)
        self._vars = dict(made) if nested else made
        try:
            yield
        finally:
            self._values, self._vars, self._names = values, made, names

    def dtype_of(self, tensor: ir.Tensor) -> np.dtype[Any]:
        """The element type that ONNX has."""
        found = tensor.dtype if isinstance(tensor, ir.Constant) else self._types.get(tensor, tensor.dtype)
        if not isinstance(found, np.dtype):
            raise Refused(f"the element type of '{tensor.name}' is not known")
        return found


def narrowed(array: Array, name: str) -> Array:
    """A constant in an element type that MIL has.

    Raises:
        Refused: It has none, or a number does not fit.
    """
    array = np.asarray(array)
    array = array.astype(_WIDENED.get(array.dtype, array.dtype), copy=False)
    narrow = _NARROWED.get(array.dtype)
    if narrow is not None:
        limits = np.iinfo(narrow)
        clipped = np.clip(array, limits.min, limits.max)
        beyond = array[clipped != array]
        if not (np.abs(beyond.astype(np.float64)) >= _END).all():
            raise Refused(f"the integers of '{name}' do not fit 32 bits, and Core ML has no others")
        array = np.asarray(clipped).astype(narrow)
    if array.dtype not in (np.float32, np.float16, np.int32, np.bool_, np.int8, np.uint8, np.int16, np.uint16):
        raise Refused(f"'{name}' is of {array.dtype}, which Core ML has not")
    return array


def as_mil(value: Value) -> Any:
    """A Var; an array becomes a const operation."""
    return mb.const(val=value) if isinstance(value, np.ndarray) else value


def mil_type(dtype: np.dtype[Any], name: str) -> Any:
    """MIL's element type for inputs of the model: floats, or int32 for what is integer or boolean.

    Raises:
        Refused: There is none that holds the numbers.
    """
    if dtype in (np.float32, np.float16):
        return types.fp32 if dtype == np.float32 else types.fp16
    if dtype.kind in "iub" and dtype.itemsize <= 8:
        return types.int32
    raise Refused(f"'{name}' is of {dtype}, which Core ML has not")
