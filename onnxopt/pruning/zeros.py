"""Which elements of the weights of layers are zero, in whichever form they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.linear.match import constant_of

Flags = npt.NDArray[np.bool_]
_CONTRIB = "com.microsoft"
_WEIGHTS: dict[str, dict[int, int | None]] = {
    "Attention": {1: None},
    "Conv": {1: None},
    "ConvInteger": {1: 3},
    "ConvTranspose": {1: None},
    "DynamicQuantizeLSTM": {1: 9, 2: 11},
    "GRU": {1: None, 2: None},
    "Gemm": {0: None, 1: None},
    "LSTM": {1: None, 2: None},
    "MatMul": {0: None, 1: None},
    "MatMulInteger": {0: 2, 1: 3},
    "QAttention": {1: 7},
    "QLinearConv": {3: 5},
    "QLinearMatMul": {0: 2, 3: 5},
    "RNN": {1: None, 2: None},
}
"""The inputs of each layer that are weights, and those that hold their zero points (ONNX and onnxruntime's schemas)."""
_THROUGH = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators behind which a zero is a zero still."""
_DEEP = 8
_PIECE = 1 << 22


@dataclass(frozen=True, eq=False)
class StoredWeight:
    """The constant that holds the elements of a layer's weight, and what stands for zero in it."""

    node: ir.Node
    """The first layer that reads it."""
    constant: ir.Constant
    name: str
    """As nodes read it: an initializer's, or what a Constant node gives out."""
    zero: npt.NDArray[Any]
    """What stands for zero: values that broadcast with the constant; or, for places in a table, the places of zeros."""
    is_table: bool = False

    def zeros(self) -> Flags:
        """Which elements are zero, of the shape of the constant; all of them are read."""
        stored = self.constant.read()
        if self.is_table:
            return np.isin(stored.astype(np.int64), self.zero)
        return np.asarray(stored == self.zero, np.bool_)

    def count(self) -> int:
        """How many elements are zero; read a piece at a time where one value stands for zero."""
        if self.is_table or self.zero.ndim:
            return int(np.count_nonzero(self.zeros()))
        flat, zero = self.constant.read().reshape(-1), self.zero
        return sum(int(np.count_nonzero(flat[at : at + _PIECE] == zero)) for at in range(0, flat.size, _PIECE))


def stored_weights(graph: ir.Graph) -> Iterator[StoredWeight]:
    """The weights of all layers in all scopes, each once: float, behind a DequantizeLinear, as a palette, or integers.

    Biases are none of them, nor tables of Gather. Only zero points and palettes are read.
    """
    seen: set[ir.Tensor] = set()
    for node in ir.every_node(graph):
        if not node.is_standard and node.domain != _CONTRIB:
            continue
        for index, place in _WEIGHTS.get(node.op, {}).items():
            found = _stored(node, index, place) if index < len(node.inputs) else None
            if found is not None and found.constant.shape and found.constant not in seen:
                seen.add(found.constant)
                yield found


def _stored(node: ir.Node, index: int, place: int | None) -> StoredWeight | None:
    tensor = node.inputs[index]
    for _ in range(_DEEP):
        constant = constant_of(tensor)
        if constant is not None:
            zero = _zero_point(node, place, constant, 0 if node.op in ("ConvInteger", "QLinearConv") else -1)
            return None if zero is None else StoredWeight(node, constant, tensor.name, zero)
        made = tensor.producer
        if made is None or (place is not None and made.op not in _THROUGH):
            return None
        if made.is_op("DequantizeLinear"):
            constant = constant_of(made.inputs[0])
            if constant is None:
                return None
            zero = _zero_point(made, 2, constant, made.attr("axis", 1), made.attr("block_size", 0))
            return None if zero is None else StoredWeight(node, constant, made.inputs[0].name, zero)
        if made.is_op("Gather") and made.attr("axis", 0) == 0:
            return _of_palette(node, made)
        if not made.is_op(*_THROUGH):
            return None
        tensor = made.inputs[0]
    return None


def _of_palette(node: ir.Node, gather: ir.Node) -> StoredWeight | None:
    """real = table[index], as `quantize-weights` writes palettes."""
    table, places = constant_of(gather.inputs[0]), gather.inputs[1]
    if places.producer is not None and places.producer.is_op("Cast"):
        places = places.producer.inputs[0]
    indices = constant_of(places)
    if table is None or indices is None or len(table.shape) != 1:
        return None
    return StoredWeight(node, indices, places.name, np.flatnonzero(table.read() == 0), is_table=True)


def _zero_point(
    node: ir.Node, place: int | None, constant: ir.Constant, axis: Any, block: Any = 0
) -> npt.NDArray[Any] | None:
    """What stands for zero in a constant, shaped to broadcast with it; None where that is computed."""
    if place is None or place >= len(node.inputs) or node.inputs[place].is_empty():
        return np.zeros((), constant.dtype)
    given = constant_of(node.inputs[place])
    if given is None or not isinstance(axis, int) or not isinstance(block, int):
        return None
    zero, shape = given.read(), constant.shape
    if zero.size == 1 or not np.any(zero != 0):
        return np.asarray(zero.reshape(-1)[0] if zero.size else np.zeros((), constant.dtype))
    axis %= max(len(shape), 1)
    if block:
        return np.repeat(zero, block, axis).take(range(shape[axis]), axis)
    if zero.ndim == 1 and zero.size == shape[axis]:
        return zero.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    lengthened = [*zero.shape[:1], *[1] * (len(shape) - 2), *zero.shape[1:]]
    return zero.reshape(lengthened) if len(lengthened) == len(shape) else None
