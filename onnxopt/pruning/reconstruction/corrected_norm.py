"""One BatchNormalization whose mean and variance are corrected to what its data now are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.activations.streaming import Batch
from onnxopt.ir.edit import Edit
from onnxopt.linear.match import NoMatch
from onnxopt.pipeline.base import Context
from onnxopt.pruning.reconstruction.places import Norm

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_SAME = 1e-5
"""Relative: below that statistics are what they were, but for rounding."""


class _Moments:
    """Of one tensor, channel by channel, exact: of all samples and positions."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: Floats | None = None

    def add(self, data: Array) -> None:
        flat = np.moveaxis(np.asarray(data, np.float64), 1, 0).reshape(data.shape[1], -1)
        added = np.stack([flat.sum(axis=1), np.square(flat).sum(axis=1)])
        self._sums = added if self._sums is None else self._sums + added
        self.count += flat.shape[1]

    @property
    def mean(self) -> Floats:
        assert self._sums is not None
        found: Floats = self._sums[0] / self.count
        return found

    @property
    def variance(self) -> Floats:
        assert self._sums is not None
        found: Floats = np.maximum(self._sums[1] / self.count - np.square(self.mean), 0.0)
        return found


class CorrectedNorm:
    """Mean and variance with which the output has the mean and variance that the original's has.

    With the original's statistics those of the calibration data this is the mean and the variance of the data as they
    are now. Where they differ, the difference is kept, so that an unchanged model stays unchanged.
    """

    def __init__(self, norm: Norm) -> None:
        self.norm = norm
        self.node = self.last = norm.node
        self.data, self.target = norm.node.inputs[0].name, norm.node.outputs[0].name
        self.axis = 1
        self._data, self._output = _Moments(), _Moments()

    @property
    def bytes(self) -> int:
        """What the sums will take."""
        return 32 * self.norm.mean.size

    def add(self, batch: Batch, target: Array) -> None:
        """What a batch made of the data in the model as it is, and of the output in the original.

        Raises:
            NoMatch: The original gives out something of another shape.
        """
        data = batch.values[self.data]
        if data.shape != target.shape:
            raise NoMatch(f"the original's '{self.target}' is of shape {list(target.shape)}: not what it gives out")
        self._data.add(data)
        self._output.add(target)

    def settle(self, edit: Edit, ctx: Context) -> None:
        """After the last batch.

        Raises:
            NoMatch: They are what they should be.
        """
        norm, data, output = self.norm, self._data, self._output
        spread = np.sqrt(norm.variance + norm.epsilon)
        scale = np.where(norm.scale != 0, norm.scale, 1.0)
        deviation, should = np.sqrt(data.variance), np.sqrt(output.variance) / np.abs(scale)
        live = (deviation > 0) & (should > 0) & (norm.scale != 0)
        new_spread = np.where(live, deviation / np.where(live, should, 1.0), spread)
        new_spread = np.maximum(new_spread, np.sqrt(norm.epsilon))  # else the variance would be negative
        shift = (output.mean - norm.bias) / scale
        mean = np.where(norm.scale != 0, data.mean - shift * new_spread, norm.mean)
        off = np.maximum(np.abs(mean - norm.mean), np.abs(new_spread - spread)) / spread
        if off.max(initial=0.0) < _SAME:
            raise NoMatch("its data have the mean and variance that they had")
        if ctx.allow(f"mean and variance corrected, by up to {off.max():.2f} standard deviations", self.node):
            norm.write(edit, mean, np.maximum(np.square(new_spread) - norm.epsilon, 0.0))
            ctx.count("normalizations")
