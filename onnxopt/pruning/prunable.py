"""Weights that can be pruned, as matrices: a row an output, in it the inputs, of each the places of the kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.linear.layer_weights import Weight, layer_weights
from onnxopt.linear.match import constant_of, is_float, label
from onnxopt.pruning.masks import PRUNED, Keep
from onnxopt.pruning.patterns import Pattern, block_means

Array = npt.NDArray[Any]
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True, eq=False)
class Prunable:
    """A weight as [outputs, inputs * kernel]; the groups of a convolution, and stacked matrices, below each other."""

    weight: Weight
    groups: int
    """Of a convolution."""

    @property
    def name(self) -> str:
        """The name of the weight, as its layers read it."""
        return self.weight.name

    @property
    def node(self) -> ir.Node:
        """The first layer that reads it."""
        return self.weight.readers[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.weight.constant.shape)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def inputs(self) -> int:
        """Inputs that an output sums over, of its group."""
        return int(self.view(_nothing(self.shape)).shape[self._inputs_axis])

    @property
    def kernel(self) -> int:
        """Places of the kernel: 9 for 3x3."""
        return math.prod(self.shape[2:]) if self.node.is_op(*_CONVOLUTIONS) else 1

    @property
    def outputs(self) -> int:
        """Rows of the matrix."""
        return self.size // (self.inputs * self.kernel)

    @property
    def _inputs_axis(self) -> int:
        return 2 if self.node.is_op(*_CONVOLUTIONS) else -1

    def view(self, array: Array) -> Array:
        """A view of an array of the weight's shape: its axes are those of the matrix, one after the other."""
        if self.node.is_op(*_CONVOLUTIONS):
            grouped = array.reshape(self.groups, -1, *array.shape[1:])
            return grouped if self.node.op == "Conv" else np.swapaxes(grouped, 1, 2)
        summed = self.weight.axes.summed
        return array if summed in (None, array.ndim - 1) else np.swapaxes(array, -1, -2)

    def matrix(self, array: Array) -> Array:
        """An array of the weight's shape as [outputs, inputs * kernel]; a copy where that takes one."""
        return self.view(array).reshape(self.outputs, -1)

    def restored(self, keep: Keep) -> Keep:
        """What is kept of the matrix, in the shape of the weight."""
        found = np.empty(self.shape, np.bool_)
        view = self.view(found)
        view[...] = keep.reshape(view.shape)
        return found

    def is_pruned(self, share: float, pattern: Pattern) -> bool:
        """Whether the weight has so many zeros already, and in that pattern; it is read."""
        kept = self.matrix(self.weight.constant.read()) != 0
        if pattern.of:
            groups = kept.reshape(self.outputs, -1, pattern.of, self.kernel)
            return bool((np.count_nonzero(groups, axis=2) <= pattern.kept).all())
        if pattern.is_block:
            kept = block_means(kept.astype(np.float32), pattern, self.kernel) > 0
        zeros = int(kept.size) - int(np.count_nonzero(kept))
        return zeros >= round(share * int(kept.size))

    def obstacle(self, pattern: Pattern) -> str | None:
        """Why zeros cannot lie in that pattern; None where they can."""
        if not pattern.of and not pattern.is_block:
            return None
        if self.weight.axes.summed is None:
            return "its layers sum over different axes of it"
        return pattern.obstacle(self.outputs, self.inputs)


def prunable(graph: ir.Graph, refuse: Callable[[str, ir.Node], None]) -> Iterator[Prunable]:
    """The weights of all layers in all scopes that can be pruned, each once. Nothing is read.

    Args:
        graph: The main graph.
        refuse: Is told of every constant that is a weight and yet cannot be pruned: the reason, and the layer.
    """
    given_out = {tensor for scope in ir.every_graph(graph) for tensor in scope.outputs}
    for node in ir.every_node(graph):
        if reason := _stored(node):
            refuse(reason, node)
    for weight in layer_weights(graph, PRUNED):
        first = weight.readers[0]
        read = [(node, node.attr("group", 1)) for node in weight.readers]
        groups = read[0][1]
        others = [node for node in weight.tensor.outputs if node not in weight.readers]
        if others:
            refuse(f"{label(others[0])} reads its weight '{weight.name}' too, and is no layer", first)
        elif weight.tensor in given_out:
            refuse(f"its weight '{weight.name}' is an output", first)
        elif not isinstance(groups, int):
            refuse("the caller of the function says how many groups it has", first)
        elif len(views := {(node.op if node.is_op(*_CONVOLUTIONS) else "", group) for node, group in read}) > 1:
            refuse(f"its weight '{weight.name}' is read in {len(views)} ways", first)
        elif _is_broken(first, weight.constant.shape, groups):
            refuse(f"its weight '{weight.name}' of shape {list(weight.constant.shape)} does not fit it", first)
        else:
            yield Prunable(weight, groups)


def _stored(node: ir.Node) -> str | None:
    """Why the weight of a layer is none of those that `layer_weights` finds, though it is constant."""
    if not node.is_op(*PRUNED):
        return None
    for tensor in node.inputs[1:3] if node.is_op("LSTM", "GRU") else node.inputs[1:2]:
        made = tensor.producer
        if made is not None and made.is_op("DequantizeLinear") and constant_of(made.inputs[0]) is not None:
            return f"its weight '{tensor.name}' is stored as integers: prune before it is quantized"
        constant = constant_of(tensor)
        if constant is not None and is_float(constant.dtype) and constant.dtype not in (np.float32, np.float16):
            return f"its weight '{tensor.name}' is {constant.dtype}: float32 and float16 are pruned"
    return None


def _is_broken(node: ir.Node, shape: tuple[int, ...], groups: int) -> bool:
    if node.is_op(*_CONVOLUTIONS):
        return len(shape) < 3 or groups < 1 or shape[0] % groups != 0
    return False


def _nothing(shape: tuple[int, ...]) -> Array:
    """An array of a shape that takes no memory, to see how views of it look."""
    return np.broadcast_to(np.zeros((), np.int8), shape)
