"""What a narrow type cannot hold: of weights, and of activations on the calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.streaming import Batch, Report, batches
from onnxopt.data import DataSet
from onnxopt.quantization.extremes import extremes
from onnxopt.runtime.session import NotRunnable

Array = npt.NDArray[Any]
_SHORT = "{:.3g}"


@dataclass(frozen=True)
class Ends:
    """The smallest and the largest finite value of a tensor."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def joined(self, other: Ends) -> Ends:
        """Of both."""
        return Ends(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Limits:
    """The largest and the smallest positive number of a type (IEEE 754: 65504 and 2^-24 for float16)."""

    type_: str

    @property
    def largest(self) -> float:
        """Beyond it is infinity."""
        return float(ml_dtypes.finfo(self.type_).max)  # type: ignore[no-untyped-call]

    @property
    def smallest(self) -> float:
        """Of subnormal numbers; below it is 0, or rounds to it."""
        return float(ml_dtypes.finfo(self.type_).smallest_subnormal)  # type: ignore[no-untyped-call]

    def complaint(self, ends: Ends | None, *, divides: bool = False) -> str:
        """What is lost of a tensor, as the end of a sentence about it; "" for nothing.

        Args:
            ends: Of the tensor.
            divides: Whether a value that becomes 0 matters by itself, for it is divided by.
        """
        if ends is None:
            return ""
        if ends.magnitude > self.largest:
            return f"reaches {_SHORT.format(ends.magnitude)}, and {self.type_} ends at {_SHORT.format(self.largest)}"
        if 0 < ends.magnitude < self.smallest:
            return f"is {_SHORT.format(ends.magnitude)} at most, which is 0 in {self.type_}"
        least = min(abs(ends.low), abs(ends.high))
        if divides and ends.low * ends.high > 0 and least < self.smallest:
            return f"is divided by and is {_SHORT.format(least)} at least, which is 0 in {self.type_}"
        return ""


def narrow_dtype(type_: str) -> np.dtype[Any]:
    """numpy's float16, or ml_dtypes' bfloat16."""
    return np.dtype(ml_dtypes.bfloat16 if type_ == "bfloat16" else np.float16)


def ends_of(values: Array) -> Ends | None:
    """The ends of an array, without a copy of it unless it holds NaN or infinities; None where nothing is finite."""
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        low, high = float(values.min()), float(values.max())
    return Ends(low, high)


def observed(graph: ir.Graph, names: Iterable[str], data: DataSet, report: Report | None) -> Mapping[str, Ends]:
    """The ends of tensors of the main graph over all data, one batch in memory at a time."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    try:
        return _gathered(extremes(graph, dict.fromkeys(wanted), data, batch=None, report=report), graph, wanted, data,
                         report)  # fmt: skip
    except NotRunnable:  # onnxruntime has no extremes of an empty tensor
        return _gathered(None, graph, wanted, data, report)


def _gathered(
    found: Iterator[Batch] | None, graph: ir.Graph, names: list[str], data: DataSet, report: Report | None
) -> Mapping[str, Ends]:
    ends: dict[str, Ends] = {}
    for batch in found or batches(graph, names, data, report=report):
        for name, values in batch.values.items():
            if (seen := ends_of(values)) is not None:
                ends[name] = ends[name].joined(seen) if name in ends else seen
        del batch
    return ends
