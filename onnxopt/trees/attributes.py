"""Attributes of a node, with the types and lengths that its operator asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxopt.ir.tensor import Constant
from onnxopt.trees.forest import Array, Malformed

_MOST = 2**31 - 1
"""Onnxruntime holds ids as 32-bit integers."""


class Attributes:
    """The attributes of one node.

    Raises (each method):
        Malformed: A value is of another type, refers to an attribute of a function, or is of another length.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def ints(self, name: str, length: int | None = None, *, default: int | None = None) -> list[int]:
        """A list of non-negative integers; where it may be left out, as many times the default."""
        found = self._list(name, int)
        if not found and default is not None and length is not None:
            return [default] * length
        _require(length is None or len(found) == length, f"'{name}' has {len(found)} elements instead of {length}")
        _require(not found or (min(found) >= 0 and max(found) <= _MOST), f"'{name}' has a number that is no index")
        return found

    def strings(self, name: str, length: int | None = None) -> list[str]:
        """A list of strings."""
        found = self._list(name, str)
        _require(length is None or len(found) == length, f"'{name}' has {len(found)} elements instead of {length}")
        return found

    def labels(self) -> tuple[int, ...] | tuple[str, ...]:
        """The labels of a classifier."""
        numbers, strings = self._list("classlabels_int64s", int), self._list("classlabels_strings", str)
        _require(bool(numbers) != bool(strings), "it has labels of both types, or none")
        return tuple(numbers) or tuple(strings)

    def floats(self, name: str, length: int | None = None) -> Array:
        """A list of floats, or the tensor `NAME_as_tensor` in its place: float32 or float64."""
        tensor = self.tensor(f"{name}_as_tensor", (np.float32, np.float64))
        numbers = self._list(name, float, int)
        _require(tensor is None or not numbers, f"'{name}' is given as a list and as a tensor")
        with np.errstate(over="ignore"):
            found = np.array(numbers, np.float32) if tensor is None else tensor
        _require(length is None or len(found) == length, f"'{name}' has {len(found)} elements instead of {length}")
        return found

    def tensor(self, name: str, dtypes: tuple[type, ...]) -> Array | None:
        """A tensor of one dimension."""
        value = self.values.get(name)
        if value is None:
            return None
        _require(isinstance(value, Constant) and value.dtype in dtypes, f"'{name}' is of another type")
        read: Array = value.read()
        _require(read.ndim == 1, f"'{name}' has {read.ndim} dimensions instead of 1")
        return read

    def text(self, name: str, default: str, known: tuple[str, ...]) -> str:
        """One of some words."""
        value = self.values.get(name, default)
        _require(isinstance(value, str) and value in known, f"'{name}' is {value!r}")
        return str(value)

    def number(self, name: str, default: int) -> int:
        """One integer."""
        value = self.values.get(name, default)
        _require(isinstance(value, int) and 0 <= value <= _MOST, f"'{name}' is {value!r}")
        return int(value)

    def _list(self, name: str, *types: type) -> list[Any]:
        value = self.values.get(name, [])
        fits = isinstance(value, list) and all(isinstance(item, types) for item in value)
        _require(fits, f"'{name}' is of another type")
        return list(value)


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise Malformed(reason)


def stored_size(values: Mapping[str, Any]) -> int:
    """Bytes that attributes take in a file: `AttributeProto` stores lists element by element, each with its tag."""
    return sum(_size(name, value) for name, value in values.items())


def _size(name: str, value: Any) -> int:
    if isinstance(value, Constant):
        content = value.nbytes + 12
    elif isinstance(value, list):
        content = sum(map(_element, value))
    else:
        content = _element(value)
    return content + len(name) + 8


def _element(value: Any) -> int:
    if isinstance(value, float):
        return 5
    if isinstance(value, int):
        return 2 if 0 <= value < 128 else 1 + (max(value.bit_length(), 1) + 6) // 7 if value >= 0 else 11
    return 2 + len(value) if isinstance(value, (str, bytes)) else 2
