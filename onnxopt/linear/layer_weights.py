"""The weights of a model that are worth storing in fewer bits: of which layers, and along which axes."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.linear.match import constant_of

_FLOATS = (np.dtype(np.float32), np.dtype(np.float16))
_RECURRENT = ("GRU", "LSTM", "RNN")
OPERATORS = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul", *_RECURRENT)
"""Those with a large constant. `Add` may be asked for too: what it adds can be a table, such as of positions."""


@dataclass(frozen=True)
class Axes:
    """Along which axes a layer reads a weight."""

    channel: int | None
    """The output channels, of which each can have a scale of its own."""
    summed: int | None
    """The one that is summed over, along which blocks lie."""


def axes(node: ir.Node, index: int, rank: int) -> Axes | None:
    """The axes of a weight at an input of a layer; None where that input is no weight (ONNX operator specification)."""
    if rank < 2:
        return None
    if node.is_op("Conv") and index == 1:
        return Axes(0, 1)
    if node.is_op("ConvTranspose") and index == 1:
        return Axes(1 if node.attr("group", 1) == 1 else None, 0)
    if node.is_op("Gemm") and index < 2:
        summed = 1 if bool(node.attr("transB" if index else "transA", 0)) == bool(index) else 0
        return Axes(1 - summed, summed)
    if node.is_op("MatMul") and index < 2:
        return Axes(rank - 1, rank - 2) if index else Axes(rank - 2, rank - 1)
    if node.is_op("Gather") and index == 0 and rank == 2 and node.attr("axis", 0) in (0, -2):
        return Axes(1, 1)
    if node.is_op("Add"):
        return Axes(rank - 1, None)
    if node.is_op(*_RECURRENT) and index in (1, 2) and rank == 3:
        return Axes(1, 2)
    return None


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant that layers read."""

    tensor: ir.Tensor
    """As the layers read it: an initializer, or what a Constant node gives out."""
    constant: ir.Constant
    axes: Axes
    """Of all layers that read it; None where they do not agree."""
    readers: tuple[ir.Node, ...]
    """The layers."""

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return self.tensor.name


def layer_weights(graph: ir.Graph, ops: Iterable[str] = OPERATORS) -> Iterator[Weight]:
    """The floating-point weights of all layers in all scopes, each once. Nothing is read."""
    wanted = frozenset(ops)
    seen: set[ir.Tensor] = set()
    for node in ir.every_node(graph):
        if node.op not in wanted or not node.is_standard:
            continue
        for tensor in node.inputs[:3]:
            if tensor in seen or not tensor.name:
                continue
            seen.add(tensor)
            constant = constant_of(tensor)
            if constant is None or constant.dtype not in _FLOATS or not constant.nbytes:
                continue
            rank = len(constant.shape)
            uses = [
                (reader, found)
                for reader in dict.fromkeys(tensor.outputs)
                if reader.op in wanted
                for index, read in enumerate(reader.inputs)
                if read is tensor and (found := axes(reader, index, rank)) is not None
            ]
            if uses:
                channels, sums = {found.channel for _, found in uses}, {found.summed for _, found in uses}
                agreed = Axes(
                    channels.pop() if len(channels) == 1 else None, sums.pop() if len(sums) == 1 else None
                )  # fmt: skip
                yield Weight(tensor, constant, agreed, tuple(dict.fromkeys(reader for reader, _ in uses)))


class Selection:
    """Which weights are asked for, by patterns (`*`, `?`, `[...]`) of layer, weight, or operator names."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        self.include, self.exclude = tuple(include), tuple(exclude)

    def takes(self, weight: Weight) -> bool:
        """Whether a weight is included and not excluded; of a shared one all its layers have to be."""
        return all(self._takes((node.name, weight.name, node.op)) for node in weight.readers)

    def _takes(self, names: Iterable[str]) -> bool:
        return any(_matches(one, names) for one in self.include) and not any(
            _matches(one, names) for one in self.exclude
        )

    def require_matches(self, graph: ir.Graph, who: str, ops: Iterable[str] = OPERATORS) -> None:
        """Raise BadOption for a pattern that nothing matches, be it stored already; `*` is for all there may be."""
        wanted = frozenset(ops)
        left = {pattern for pattern in (*self.include, *self.exclude) if pattern != "*"}
        for node in ir.every_node(graph) if left else ():
            if node.op in wanted:
                names = (node.name, node.op, *(tensor.name for tensor in node.inputs))
                left = {pattern for pattern in left if not _matches(pattern, names)}
        if left:
            raise BadOption(f"{who}: '{min(left)}' matches no layer, weight or operator; names may hold * and ?")


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)
