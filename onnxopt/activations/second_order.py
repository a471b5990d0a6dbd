"""How the data of a layer vary together: the second order of its output error, gathered batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.columns import Floats32, columns
from onnxopt.activations.streaming import Report, stream
from onnxopt.data import DataSet
from onnxopt.linear.layer import Layer

Floats = npt.NDArray[np.float64]

_ENOUGH = 32_768
"""Positions of an image, over all samples: they determine the weights of any kernel."""
_FEWEST, _MOST = 128, 2048
"""Of one sample: neighbours say nearly the same."""
_TOGETHER = 512
"""Positions to multiply at once: adding up large matrices takes longer than multiplying thin ones."""
BYTES = 200_000_000
"""Of moments that are gathered in one run over the data; what exceeds that takes another run."""
T = TypeVar("T")


class SecondOrder:
    """Sums over positions of x and x x^T, for every group of a layer.

    An error D of the weights of one output makes an error of D^T E[x x^T] D in its output, squared, or D^T Cov(x) D
    once the mean of the error is taken into the bias.
    """

    def __init__(self, layer: Layer, samples: int | None) -> None:
        self.layer = layer
        self._of_sample = min(max(_ENOUGH // (samples or 1), _FEWEST), _MOST)
        self._waiting: list[Floats32] = []
        groups, _, *rest = layer.canonical(layer.weight.read()).shape
        size = int(np.prod(rest))
        self.sums: Floats = np.zeros((groups, size))
        self.products: Floats = np.zeros((groups, size, size))
        self.positions = 0
        self._turn = 0

    @staticmethod
    def bytes(layer: Layer) -> int:
        """That it will take."""
        groups, _, *rest = layer.canonical(layer.weight.read()).shape
        return int(groups * np.prod(rest) ** 2 * 8)

    def add(self, data: npt.NDArray[np.generic]) -> None:
        """The data of a batch."""
        found = columns(self.layer, data, self._turn, self._of_sample)
        self._turn += 1
        self._waiting.append(found)
        if sum(each.shape[-1] for each in self._waiting) >= _TOGETHER:
            self._multiply()

    def _multiply(self) -> None:
        if not self._waiting:
            return
        found = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting, axis=-1)
        self._waiting = []
        self.positions += found.shape[-1]
        self.sums += found.sum(axis=-1, dtype=np.float64)
        for product, group in zip(self.products, found, strict=True):
            product += group @ group.T  # numpy takes the symmetric product for a matrix, and not for a stack of them

    def finish(self) -> None:
        """After the last batch."""
        self._multiply()

    @property
    def mean(self) -> Floats:
        """Of x: [group, weights]."""
        return self.sums / max(self.positions, 1)

    def moments(self, *, centered: bool) -> Floats:
        """E[x x^T], or the covariance: [group, weights, weights]."""
        found = self.products / max(self.positions, 1)
        if centered:
            found -= self.mean[:, :, np.newaxis] * self.mean[:, np.newaxis, :]
        return found


def gathered(
    graph: ir.Graph,
    items: Sequence[T],
    layer_of: Callable[[T], Layer],
    data: DataSet,
    report: Report | None = None,
    most: int = BYTES,
) -> Iterator[tuple[T, SecondOrder]]:
    """Layers of a main graph with the moments of their data, as many in one run over the data as fit into memory.

    The graph may be changed by whoever takes them: layers of a later run see the data that the changed one gives.

    Args:
        graph: The main graph.
        items: What has a layer.
        layer_of: Its layer: a Conv, Gemm or MatMul.
        data: Samples for the inputs of the graph.
        report: Told how many samples are done.
        most: Bytes of moments.

    Raises:
        BadData: A sample does not fit.
    """
    for part in _parts(items, layer_of, most):
        layers = [layer_of(item) for item in part]
        seen = [SecondOrder(layer, data.length) for layer in layers]
        names = [layer.node.inputs[0].name for layer in layers]
        for values in stream(graph, list(dict.fromkeys(names)), data, report=report):
            for name, one in zip(names, seen, strict=True):
                one.add(values[name])
        for item in part:
            one = seen.pop(0)
            one.finish()
            yield item, one


def _parts(items: Sequence[T], layer_of: Callable[[T], Layer], most: int) -> Iterator[list[T]]:
    """In runs of which the moments take so much memory."""
    part: list[T] = []
    taken = 0
    for each in items:
        size = SecondOrder.bytes(layer_of(each))
        if part and taken + size > most:
            yield part
            part, taken = [], 0
        part.append(each)
        taken += size
    if part:
        yield part
