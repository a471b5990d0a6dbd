"""What is seen of the channels of tensors on calibration data: their ends and their mean squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.streaming import Report, stream
from onnxopt.data import DataSet
from onnxopt.errors import BadData
from onnxopt.quantization.watching import NotFinite

Floats = npt.NDArray[np.float64]


class Seen:
    """One tensor, channel by channel: arrays of shape [channels]."""

    def __init__(self, axis: int, channels: int) -> None:
        self.axis = axis
        self.low: Floats = np.zeros(channels)
        """Not above 0, which is always among what is quantized."""
        self.high: Floats = np.zeros(channels)
        """Not below 0."""
        self._squares: Floats = np.zeros(channels)
        self._elements = 0

    def add(self, name: str, value: npt.NDArray[Any]) -> None:
        """See a batch.

        Raises:
            NotFinite: It holds NaN or infinity.
        """
        if not value.size:
            return
        rows = np.asarray(np.moveaxis(value, self.axis, -1), np.float32).reshape(-1, value.shape[self.axis])
        low, high = rows.min(axis=0), rows.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise NotFinite(f"tensor '{name}' holds NaN or infinity: leave those samples out")
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self._squares += np.einsum("nc,nc->c", rows, rows)
        self._elements += len(rows)

    @property
    def square(self) -> Floats:
        """The mean square."""
        return self._squares / max(self._elements, 1)


def see(
    graph: ir.Graph, wanted: Mapping[str, tuple[int, int]], data: DataSet, report: Report | None
) -> dict[str, Seen]:
    """Run the graph over the data once; memory does not grow with the samples.

    Args:
        graph: A main graph in float.
        wanted: The axis and the number of the channels, by tensor name.
        data: For its inputs.
        report: Told how many samples are done.

    Raises:
        BadData: A sample does not fit, or a tensor is NaN or infinite.
    """
    found = {name: Seen(*channels) for name, channels in wanted.items()}
    try:
        for values in stream(graph, list(wanted), data, report=report) if wanted else ():
            for name, seen in found.items():
                seen.add(name, values[name])
    except NotFinite as error:
        raise BadData(f"{data.source}: {error}") from None
    return found
