"""How an input lies in the `.raw` files of a folder, where an `inputs.json` beside the list says so.

Qualcomm's list names files and inputs, and says nothing of types and axes: such files are float32, row by row, unless
this note tells otherwise. It also tells how an input is called in the model, where the list calls it by a plainer name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from onnxopt import strict_json
from onnxopt.data.spec import Array, show_shape
from onnxopt.errors import BadData

NOTE = "inputs.json"
FORMAT = "onnxopt raw inputs"
VERSION = 1
_TYPES = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
_LARGEST = 16_000_000
"""Bytes of a note that is still read."""


@dataclass(frozen=True)
class RawInput:
    """One input: its name in the list, and the way from a sample to a file and back."""

    name: str
    """As the list has it."""
    of: str
    """The input of the model."""
    shape: tuple[int, ...]
    """Of a sample, as the model takes it."""
    axes: tuple[int, ...]
    """Which axis of the sample each axis in the file is: `(1, 2, 0)` for channels first in the model and last here."""
    stored: np.dtype[Any]
    """Type of the numbers in the file, little-endian."""
    dtype: np.dtype[Any]
    """Type of the sample."""

    def written(self, sample: Array) -> Array:
        """What goes into the file: the numbers of one sample, of the shape and type that are stored.

        Raises:
            BadData: The stored type cannot hold one of them.
        """
        array = np.asarray(sample)
        if array.shape != self.shape:
            raise BadData(
                f"input '{self.of}': one sample is {show_shape(array.shape)} and the first was "
                f"{show_shape(self.shape)}; raw files are for one shape"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            stored = array.astype(self.stored)
            back = stored.astype(array.dtype)
        if not np.array_equal(back, array, equal_nan=array.dtype.kind == "f"):
            lost = array[back != array].flat[0]
            raise BadData(f"input '{self.of}' has the value {lost!r}, and {self.stored} cannot hold it")
        return np.ascontiguousarray(stored.transpose(self.axes))

    def read(self, file: Path) -> Array:
        """The sample in a file.

        Raises:
            BadData: It cannot be read, or is of another size.
        """
        try:
            numbers = np.memmap(file, self.stored.newbyteorder("<"), "r")
        except (OSError, ValueError) as error:
            raise BadData(f"{file} cannot be read for input '{self.of}': {error}") from error
        if numbers.size != math.prod(self.shape):
            raise BadData(
                f"{file} holds {numbers.size} {self.stored}, and {NOTE} says that input '{self.of}' is "
                f"{show_shape(self.shape)}"
            )
        there = [self.shape[axis] for axis in self.axes]
        back = np.argsort(self.axes)
        return np.asarray(numbers.reshape(there).transpose(back).astype(self.dtype))


def is_storable(dtype: np.dtype[Any] | None) -> bool:
    """Whether samples of a type can be written to raw files: numbers of whole bytes, and booleans."""
    return dtype is not None and str(dtype) in _TYPES


def note_of(inputs: Iterable[RawInput]) -> str:
    """The text of the note."""
    listed = [
        {
            "name": each.name,
            "input": each.of,
            "shape": each.shape,
            "axes": each.axes,
            "stored": str(each.stored),
            "dtype": str(each.dtype),
        }
        for each in inputs
    ]
    return strict_json.dumps({"format": FORMAT, "version": VERSION, "inputs": listed}) + "\n"


def inputs_in(folder: Path) -> tuple[RawInput, ...]:
    """What the note in a folder says; nothing where there is none, or another program's file of that name.

    Raises:
        BadData: It is damaged.
    """
    path = folder / NOTE
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return ()
        if document.get("version") != VERSION:
            raise ValueError(f"version {document.get('version')!r}, and version {VERSION} is read here")
        return tuple(_parsed(each) for each in document["inputs"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadData(f"{path} is damaged: {error}") from error


def _parsed(entry: Mapping[str, Any]) -> RawInput:
    shape, axes = tuple(entry["shape"]), tuple(entry["axes"])
    if not all(type(size) is int and size >= 0 for size in shape) or sorted(axes) != list(range(len(shape))):
        raise ValueError(f"shape {shape} with axes {axes}")
    if not all(isinstance(entry[key], str) for key in ("name", "input")):
        raise ValueError(f"the name {entry['name']!r}")
    return RawInput(entry["name"], entry["input"], shape, axes, _TYPES[entry["stored"]], _TYPES[entry["dtype"]])
