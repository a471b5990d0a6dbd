"""Masks: which elements of a weight may be other than zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.pruning.zeros import stored_weights

Keep = npt.NDArray[np.bool_]
PRUNED = ("Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul")
"""The operators of which weights have masks."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The mask of one weight."""

    weight: str
    """The name of the constant, as its layers read it."""
    layer: str
    """The name of the first node that reads it, or of that node's first output where it has no name."""
    keep: Keep
    """True where the weight is kept, False where it is zero: of the shape of the weight."""

    @property
    def zeros(self) -> int:
        """How many elements are masked."""
        return self.keep.size - int(np.count_nonzero(self.keep))

    @property
    def sparsity(self) -> float:
        """The share of masked elements, 0 to 1."""
        return self.zeros / max(self.keep.size, 1)


class Masks:
    """The masks of a model's weights, by the name of the weight."""

    def __init__(self, masks: Iterable[Mask] = ()) -> None:
        self._by_weight = {mask.weight: mask for mask in masks}

    @classmethod
    def of(cls, graph: ir.Graph) -> Masks:
        """The weights that hold zeros, masked where they are zero now; a weight without any is left out.

        Of layers in every scope, also those that are stored as integers: then the mask is that of the integers. All
        weights are read, one after the other.
        """
        found = (Mask(each.name, layer_name(each.node), ~each.zeros()) for each in stored_weights(graph))
        return cls(mask for mask in found if mask.zeros)

    def in_model(self, graph: ir.Graph) -> Masks:
        """The masks of a model that later passes made of the one that was masked.

        A weight that is as it was has its mask; any other, which they renamed, merged, or stored as integers, is masked
        where it is zero now. A weight whose masked elements are not all zero any more is masked where they are.
        """
        found = []
        for now in Masks.of(graph):
            before = self.get(now.weight)
            if before is not None and before.keep.shape == now.keep.shape:
                now = Mask(now.weight, now.layer, before.keep | now.keep)
            found.append(now)
        return Masks(found)

    def get(self, weight: str) -> Mask | None:
        """The mask of a weight; None where it has none."""
        return self._by_weight.get(weight)

    def __iter__(self) -> Iterator[Mask]:
        return iter(self._by_weight.values())

    def __len__(self) -> int:
        return len(self._by_weight)

    def __contains__(self, weight: str) -> bool:
        return weight in self._by_weight

    def merged(self, other: Masks) -> Masks:
        """Zero where either is zero; where the shapes of a weight's masks differ, that of `other`, the later one."""
        both = dict(self._by_weight)
        for mask in other:
            mine = both.get(mask.weight)
            if mine is not None and mine.keep.shape == mask.keep.shape:
                mask = Mask(mask.weight, mask.layer, mine.keep & mask.keep)
            both[mask.weight] = mask
        return Masks(both.values())


def layer_name(node: ir.Node) -> str:
    """The name of a node, or of its first output where it has none."""
    return node.name or next((output.name for output in node.outputs if output.name), "")
