"""Regions: tensors whose channels can be scaled together, all that writes and reads them being scaled against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.linear.affine import Affine
from onnxopt.linear.layer import Array, Layer, is_layer, read_layer
from onnxopt.linear.match import NoMatch, constant_of, label
from onnxopt.linear.setting import Setting

_ANY_AXIS = ("Dropout", "Identity", "LeakyRelu", "PRelu", "Relu")
"""f(s x) = s f(x) for s > 0, wherever the channels are."""
_IMAGES = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
"""The same, where the channels are on axis 1."""
_SUMS = ("Add", "Sub")
_MASKS = ("Dropout", "MaxPool")
"""Their second outputs tell of places: no scale matters there."""
_CLIPS = ("Clip", "HardSigmoid", "HardSwish")


@dataclass
class Region:
    """Tensors with the same channels."""

    axis: int
    """1, or -1 where that may be another axis."""
    channels: int
    tensors: dict[ir.Tensor, None] = field(default_factory=dict)
    """In the order in which they were found, as the nodes are: a residual stream may have thousands."""
    writers: dict[ir.Node, None] = field(default_factory=dict)
    """Nodes with weights that give out one of the tensors."""
    readers: dict[ir.Node, None] = field(default_factory=dict)
    """Layers whose data is one of the tensors."""
    obstacle: str | None = None
    """Why it cannot be scaled."""

    @property
    def first(self) -> ir.Node:
        """The node that messages name."""
        return next(iter(self.writers))

    def is_of(self, axis: int, channels: int) -> bool:
        """Whether it has these channels, along this axis."""
        return (self.axis, self.channels) == (axis, channels)


Writer = Callable[[ir.Node], tuple[int, int] | None]
"""The axis and number of the channels of what a node with weights gives out; None of other nodes."""


class Regions:
    """Finds the regions of a main graph.

    Args:
        edit: Of the graph.
        setting: Its surroundings.
        writes: Which nodes can begin a region.
    """

    def __init__(self, edit: Edit, setting: Setting, writes: Writer | None = None) -> None:
        self.edit, self.setting = edit, setting
        self.writes = writes or self._layer_writes
        self._seen: set[ir.Tensor] = set()
        self._shapes: dict[ir.Node, Layer | None] = {}
        """Layers as they were found: scaling changes their numbers, and not what has to be asked here."""

    def __iter__(self) -> Iterator[Region]:
        """Regions with a writer and a reader, those with an obstacle too."""
        for node in self.edit.main.nodes:
            found = self.writes(node)
            if found is not None and node.outputs[0] not in self._seen:
                region = Region(*found)
                self._flood(region, node.outputs[0])
                if region.readers:
                    yield region

    def layer(self, node: ir.Node) -> Layer | None:
        """The layer with constant weights that a node is, read as it is now."""
        try:
            return read_layer(node, self.edit.main.opset, self.setting) if is_layer(node) else None
        except NoMatch:
            return None

    def _found(self, node: ir.Node) -> Layer | None:
        if node not in self._shapes:
            self._shapes[node] = self.layer(node)
        return self._shapes[node]

    def _layer_writes(self, node: ir.Node) -> tuple[int, int] | None:
        layer = self._found(node)
        if layer is None:
            return None
        return axis_of(layer), layer.outputs

    def _flood(self, region: Region, first: ir.Tensor) -> None:
        pending = [first]
        while pending:
            tensor = pending.pop()
            if tensor in self._seen:
                if tensor not in region.tensors:
                    region.obstacle = f"'{tensor.name}' has channels that are counted otherwise elsewhere"
                continue
            self._seen.add(tensor)
            region.tensors[tensor] = None
            if self.edit.is_output(tensor):
                region.obstacle = f"'{tensor.name}' is an output of the graph"
            try:
                pending += self._before(region, tensor)
                for reader in dict.fromkeys(tensor.outputs):
                    pending += self._behind(region, tensor, reader)
            except NoMatch as no:
                region.obstacle = region.obstacle or str(no)

    def _before(self, region: Region, tensor: ir.Tensor) -> list[ir.Tensor]:
        """What else is in the region since a node computes `tensor` of it."""
        node = tensor.producer
        if node is None:
            raise NoMatch(f"'{tensor.name}' is an input of the graph")
        found = self.writes(node)
        if found is not None:
            if not region.is_of(*found):
                raise NoMatch(f"{label(node)} has other channels")
            region.writers[node] = None
            return []
        return [each for each in self._linked(region, node) if each is not tensor]

    def _behind(self, region: Region, tensor: ir.Tensor, node: ir.Node) -> list[ir.Tensor]:
        """What else is in the region since `node` reads `tensor` of it."""
        if self.edit.scope_of(node) is not self.edit.main:
            raise NoMatch(f"'{tensor.name}' is read in a subgraph")
        if is_layer(node):
            layer = self._found(node)
            if layer is None or node.inputs[0] is not tensor or list(node.inputs).count(tensor) > 1:
                raise NoMatch(f"{label(node)} has no constant weights")
            if not region.is_of(_input_axis(layer), layer.inputs):
                raise NoMatch(f"{label(node)} reads other channels")
            region.readers[node] = None
            return []
        return [each for each in self._linked(region, node) if each is not tensor]

    def _linked(self, region: Region, node: ir.Node) -> list[ir.Tensor]:
        """The tensors that a node keeps in one region.

        Raises:
            NoMatch: The node does something else when its data are scaled.
        """
        if self.edit.scope_of(node) is not self.edit.main:
            raise NoMatch(f"{label(node)} is in a subgraph")
        given = [tensor for tensor in node.inputs if tensor.name]
        if node.is_op(*_ANY_AXIS) or (node.is_op(*_IMAGES) and region.axis == 1):
            if any(each.name and self.edit.is_used(each) for each in node.outputs[1:]) and not node.is_op(*_MASKS):
                raise NoMatch(f"{label(node)} has more than one output")
            return [given[0], node.outputs[0]]
        if node.is_op(*_SUMS):
            if self.edit.main.opset < 7:
                raise NoMatch(f"{label(node)} broadcasts by attributes")
            if any(constant_of(each) is not None for each in given):
                raise NoMatch(f"{label(node)} adds a constant: run -O 3 before, which folds it into a bias")
            return [*given, node.outputs[0]]
        if node.is_op(*_CLIPS):
            raise NoMatch(f"{label(node)} ends at values that are the same for all channels")
        raise NoMatch(f"{label(node)} does not scale with its data")


def axis_of(layer: Layer) -> int:
    """The axis of the channels that a layer gives out."""
    return 1 if layer.output_channels.axis == 1 or layer.rank == 2 else -1


def _input_axis(layer: Layer) -> int:
    return 1 if layer.input_channels.axis == 1 or layer.rank == 2 else -1


def rescaled(layer: Layer, given: Array | None, read: Array | None) -> tuple[Array | None, Array | None]:
    """Weights and bias of a layer whose output is multiplied by `given`, and whose data came multiplied by 1 / `read`.

    Raises:
        NoMatch: They cannot be held in the type of the weights.
    """
    weight = bias = None
    if given is not None:
        weight, bias = layer.after(Affine(given, np.zeros_like(given)))
        if weight is not None:
            layer = replace(layer, weight=ir.Constant(layer.weight.name, weight))
    if read is not None:
        weight = layer.before(Affine(read, np.zeros_like(read)))[0]
    return weight, bias
