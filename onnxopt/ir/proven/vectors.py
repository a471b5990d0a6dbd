"""Rules for the elements of small vectors: what exporters compute shapes with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxopt.ir import dtypes
from onnxopt.ir.node import Node
from onnxopt.ir.proven.arithmetic import ARITHMETIC
from onnxopt.ir.proven.extents import product
from onnxopt.ir.proven.facts import FITS, MOST_ELEMENTS, Facts, Item, Vector, int_of, is_small_vector, read_vector
from onnxopt.ir.proven.reducing import shape_range
from onnxopt.ir.proven.slicing import slice_cuts
from onnxopt.ir.tensor import Constant

_INT64 = np.dtype("int64")


def shape(node: Node, facts: Facts) -> Vector | None:
    """Shape."""
    data = facts.dims(node, 0)
    axes = None if data is None else shape_range(node, len(data))
    return None if data is None or axes is None else Vector(tuple(data[axis] for axis in axes), _INT64)


def size(node: Node, facts: Facts) -> Vector | None:
    """Size."""
    data = facts.dims(node, 0)
    return None if data is None else Vector((product(data),), _INT64)


def constant(node: Node, facts: Facts) -> Vector | None:
    """Constant."""
    value = node.attrs.get("value")
    if isinstance(value, Constant):
        if value.dtype.kind != "f":
            return read_vector(value)
        if is_small_vector(value):  # floats matter to few, and there are many
            facts.unread[node.outputs[0]] = value
        return None
    for name, dtype in (("value_int", "int64"), ("value_ints", "int64"), ("value_float", "float32")):
        given = node.attrs.get(name)
        if isinstance(given, (int, float)):
            return Vector((given,), np.dtype(dtype))
        if isinstance(given, list) and len(given) <= MOST_ELEMENTS:
            return Vector(tuple(given), np.dtype(dtype))
    return None


def same(node: Node, facts: Facts) -> Vector | None:
    """The elements of the first input, in their order."""
    return facts.vector(node.inputs[0])


def cast(node: Node, facts: Facts) -> Vector | None:
    """Cast between the types that are followed. A symbolic number does not become a float, which may not hold it."""
    vector, to = facts.vector(node.inputs[0]), int_of(node, "to")
    dtype = dtypes.to_numpy(to) if vector is not None and to is not None else None
    if vector is None or dtype is None or dtype.kind not in "bif" or dtype.itemsize not in (1, 4, 8):
        return None
    if dtype.itemsize == 1 and dtype.kind != "b":
        return None
    return Vector(tuple(_cast(item, dtype, facts) for item in vector.items), dtype)


def _cast(item: Item, dtype: Any, facts: Facts) -> Item:
    if dtype.kind == "b":
        return int(item != 0) if isinstance(item, (int, float)) else 1 if facts.at_least(item, 1) else None
    if dtype.kind == "f":
        return float(dtype.type(item)) if isinstance(item, (int, float)) else None
    if isinstance(item, float):
        return int(item) if math.isfinite(item) and abs(item) < FITS else None
    return None if isinstance(item, int) and dtype.itemsize == 4 and abs(item) >= FITS else item


def gather(node: Node, facts: Facts) -> Vector | None:
    """Gather from a vector."""
    vector = facts.vector(node.inputs[0])
    if vector is None or len(facts.dims(node, 0) or ()) != 1 or int_of(node, "axis", 0) not in (0, -1):
        return None
    indices = facts.items(node, 1)
    if indices is None:
        return None
    return Vector(tuple(_picked(vector.items, index) for index in indices), vector.dtype)


def _picked(items: tuple[Item, ...], index: Item) -> Item:
    return items[index] if isinstance(index, int) and -len(items) <= index < len(items) else None


def slice_(node: Node, facts: Facts) -> Vector | None:
    """Slice of a vector."""
    vector = facts.vector(node.inputs[0])
    cuts = None if vector is None or len(facts.dims(node, 0) or ()) != 1 else slice_cuts(node, facts, 1)
    if vector is None or cuts is None or len(cuts) > 1:
        return None
    items = vector.items
    for _, start, end, step in cuts:
        if not isinstance(start, int) or not isinstance(end, int) or not isinstance(step, int) or not step:
            return None
        items = (
            items[start:end:step]
            if step > 0
            else tuple(items[i] for i in range(*slice(start, end, step).indices(len(items))))
        )
    return Vector(items, vector.dtype)


def concat(node: Node, facts: Facts) -> Vector | None:
    """Concat, where the elements of one at least are known, and the length of all."""
    vectors = [facts.vectors.get(tensor) for tensor in node.inputs]
    known = next((vector for vector in vectors if vector is not None), None)
    if known is None:
        return None
    items: list[Item] = []
    for index, tensor in enumerate(node.inputs):
        vector = vectors[index] or facts.vector(tensor)
        part = facts.extents(node, index, "") if vector is None else vector.items
        if part is None:
            return None
        items += part
    return Vector(tuple(items), known.dtype)


def split(node: Node, facts: Facts) -> list[Vector | None] | None:
    """Split of a vector."""
    vector = facts.vector(node.inputs[0])
    if vector is None:
        return None
    found: list[Vector | None] = []
    place = 0
    for output in node.outputs:
        dims = facts.shapes.get(output)
        if dims is None or len(dims) != 1 or not isinstance(dims[0], int):
            return None
        found.append(Vector(vector.items[place : place + dims[0]], vector.dtype))
        place += dims[0]
    return found


def expand(node: Node, facts: Facts) -> Vector | None:
    """Expand and Tile of a scalar or a vector, to one of a known length."""
    vector, dims = facts.vector(node.inputs[0]), facts.shapes.get(node.outputs[0])
    if vector is None or dims is None or len(dims) > 1 or not vector.items:
        return None
    length = dims[0] if dims else 1
    if not isinstance(length, int) or length > MOST_ELEMENTS or length % len(vector.items):
        return None
    return Vector(vector.items * (length // len(vector.items)), vector.dtype)


def constant_of_shape(node: Node, facts: Facts) -> Vector | None:
    """ConstantOfShape of rank 0 or 1."""
    dims, value = facts.shapes.get(node.outputs[0]), node.attrs.get("value")
    if dims is None or len(dims) > 1 or (value is not None and not isinstance(value, Constant)):
        return None
    length = dims[0] if dims else 1
    if not isinstance(length, int) or length > MOST_ELEMENTS:
        return None
    vector = Vector((0.0,), np.dtype("float32")) if value is None else read_vector(value)
    return None if vector is None else Vector(vector.items * length, vector.dtype)


def range_(node: Node, facts: Facts) -> Vector | None:
    """Range of numbers."""
    vectors = [facts.vector(tensor) for tensor in node.inputs[:3]]
    numbers = [vector.items[0] for vector in vectors if vector is not None and len(vector.items) == 1]
    if (
        len(numbers) < 3
        or vectors[0] is None
        or not all(isinstance(number, int) for number in numbers)
        or not numbers[2]
    ):
        return None
    found = range(*numbers)  # type: ignore[arg-type]
    return Vector(tuple(found), vectors[0].dtype) if len(found) <= MOST_ELEMENTS else None


VECTOR_RULES: dict[str, Callable[[Node, Facts], Vector | list[Vector | None] | None]] = {
    **ARITHMETIC,
    **dict.fromkeys(("Identity", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"), same),
    **dict.fromkeys(("Expand", "Tile"), expand),
    "Cast": cast,
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Gather": gather,
    "Range": range_,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "Split": split,
}
"""The elements of an operator's outputs."""
