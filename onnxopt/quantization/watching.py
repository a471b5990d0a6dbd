"""One tensor while its values stream past."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.activations.streaming import Batch
from onnxopt.errors import BadData
from onnxopt.quantization.channels import DeadChannels
from onnxopt.quantization.histogram import Scratch
from onnxopt.quantization.observers import Observer, Observing
from onnxopt.quantization.ranges import Range
from onnxopt.quantization.request import Request

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_NOTABLE = 0.01
"""A share of saturated values that is told."""
_HUGE = 1e30
"""A magnitude that no activation has, but the masks of attention have."""
_SHOWN = 8
"""Channels that are told by number."""


class NotFinite(BadData):
    """An activation is NaN or infinite."""


class Watched:
    """The ends, the observers and the dead channels of one tensor.

    Args:
        request: What is wanted of the tensor.
        observing: How.
        scratch: Shared with the other tensors.
        channels: The axis to look for dead channels along; None where there are no channels.
    """

    def __init__(self, request: Request, observing: Observing, scratch: Scratch, channels: int | None) -> None:
        self._request = request
        self._observing = observing
        self._scratch = scratch
        self._low: list[float] | None = None
        self._high: list[float] | None = None
        self._observers: list[Observer] = []
        self._dead = None if channels is None else DeadChannels(channels)

    def add(self, batch: Batch) -> None:
        """See one batch.

        Raises:
            NotFinite: It holds NaN or infinity.
            BadData: Its channels are not as many as before.
        """
        values = _as_float(batch.values[self._request.tensor])
        if not values.size:
            return
        rows = self._rows(values)
        low, high = _ends(rows)
        if not all(-np.inf < least and most < np.inf for least, most in zip(low, high, strict=True)):  # nor with NaN
            raise NotFinite(self._told(batch, values))
        self._widen(low, high)
        if self._observing.method != "minmax":
            for observer, row, least, most in zip(self._observers, rows, low, high, strict=True):
                observer.add(row, least, most)
        if self._dead is not None:
            self._dead.add(values)

    def range(self) -> Range:
        """What was seen; from 0 to 0 where no value came."""
        low, high = (np.array(ends or [0.0], np.float64) for ends in (self._low, self._high))
        ends = [o.ends(float(least), float(most)) for o, least, most in zip(self._observers, low, high, strict=False)]
        clipped = np.array(ends or [(0.0, 0.0)], np.float64)
        shape: tuple[int, ...] = () if self._request.axis is None else (-1,)
        seen_low, seen_high, at_low, at_high = (
            part.reshape(shape) for part in (low, high, clipped[:, 0], clipped[:, 1])
        )
        return Range(at_low, at_high, seen_low, seen_high, self._request.axis, self._saturated(clipped, low, high))

    def remarks(self, found: Range, silent: Set[int] = frozenset()) -> list[str]:
        """What the user should know of the tensor, of which the channels `silent` are known to be 0."""
        name, remarks = self._request.tensor, []
        if self._low is None:
            return [f"'{name}' was empty in every sample: it has no range"]
        low, high = float(found.seen_low.min()), float(found.seen_high.max())
        if low == high:
            remarks.append(f"'{name}' is always {low:g}")
        elif self._dead is not None and (dead := [each for each in self._dead.dead if each not in silent]):
            shown = ", ".join(map(str, dead[:_SHOWN])) + (", ..." if len(dead) > _SHOWN else "")
            remarks.append(f"'{name}': {len(dead)} of {self._dead.channels} channels are always 0: {shown}")
        if found.saturated > _NOTABLE:
            remarks.append(f"'{name}': {found.saturated:.1%} of its values saturate")
        if max(-float(found.low.min()), float(found.high.max())) > _HUGE:
            remarks.append(f"'{name}' reaches from {low:g} to {high:g}, as a mask does: quantize cuts it off")
        return remarks

    def _rows(self, values: Array) -> Array:
        """The values of each channel, or all in one row; contiguous."""
        axis = self._request.axis
        if axis is None:
            return values.reshape(1, -1)
        if not -values.ndim <= axis < values.ndim:
            raise BadData(f"'{self._request.tensor}' has {values.ndim} axes, so no channels along axis {axis}")
        rows = np.ascontiguousarray(np.moveaxis(values, axis, 0)).reshape(values.shape[axis], -1)
        if self._low is not None and len(rows) != len(self._low):
            raise BadData(
                f"'{self._request.tensor}' has {len(rows)} channels along axis {axis} where it had {len(self._low)} "
                "before: take one range for the whole tensor"
            )
        return rows

    def _widen(self, low: Sequence[float], high: Sequence[float]) -> None:
        if self._low is None or self._high is None:
            of_channel = self._request.axis is not None
            make = self._observing.observer
            self._observers = [make(self._request.integer, self._scratch, of_channel=of_channel) for _ in low]
            self._low, self._high = list(low), list(high)
        else:
            self._low = list(map(min, self._low, low))
            self._high = list(map(max, self._high, high))

    def _saturated(self, clipped: Floats, low: Floats, high: Floats) -> float:
        """The share of values outside, where channels have equally many."""
        shares = [
            observer.share_outside(-np.inf if ends[0] <= least else ends[0], np.inf if ends[1] >= most else ends[1])
            for observer, ends, least, most in zip(self._observers, clipped, low, high, strict=False)
        ]
        return float(np.mean(shares)) if shares else 0.0

    def _told(self, batch: Batch, values: Array) -> str:
        """Which sample it is, and what is wrong with it."""
        what = "NaN" if np.isnan(values).any() else "infinity"
        where = f"samples {batch.first} to {batch.first + batch.samples - 1}"
        if batch.samples == 1:
            where = f"sample {batch.first}"
        elif values.shape[0] == batch.samples:
            rows = np.isfinite(values.reshape(batch.samples, -1)).all(axis=1)
            where = f"sample {batch.first + int(np.argmin(rows))}"
        return (
            f"tensor '{self._request.tensor}' holds {what} in {where}: leave the sample out, or the node that makes it "
            "in float"
        )


def _ends(rows: Array) -> tuple[list[float], list[float]]:
    """The smallest and the largest value of each row."""
    if len(rows) == 1:  # rank 1, and reduce() itself: all else costs more than small tensors take
        return [float(np.minimum.reduce(rows[0]))], [float(np.maximum.reduce(rows[0]))]
    return rows.min(axis=1).tolist(), rows.max(axis=1).tolist()


def _as_float(values: Array) -> Array:
    """As float32 or float64: numpy reduces no other type as fast, and 16-bit ones not rightly everywhere."""
    if values.dtype in (np.float32, np.float64):
        return values
    return values.astype(np.float64 if values.dtype.kind in "iu" and values.dtype.itemsize > 2 else np.float32)
