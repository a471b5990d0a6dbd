"""One layer whose weights and bias are fitted to what the original gives out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.streaming import Batch
from onnxopt.ir.edit import Edit
from onnxopt.linear.layer import Layer
from onnxopt.linear.match import NoMatch, rounded
from onnxopt.pipeline.base import Context
from onnxopt.pruning.reconstruction.observing import Positions, fits, held_out, seen, wanted
from onnxopt.pruning.reconstruction.places import Place
from onnxopt.pruning.reconstruction.regression import Fit, Regression

Array = npt.NDArray[Any]

_ENOUGH = 32_768
"""Positions, over all samples: they determine the weights of any kernel."""
_FEWEST, _MOST = 128, 4096
"""Of one sample."""


class FittedLayer:
    """Least squares of what is left of the weights. A zero stays zero."""

    def __init__(self, layer: Layer, place: Place, samples: int | None) -> None:
        self.layer, self.place = layer, place
        self.node = layer.node
        self.data = layer.node.inputs[0].name
        self.target, self.axis = place.output.name, layer.output_channels.axis
        self._positions = min(max(_ENOUGH // (samples or 1), _FEWEST), _MOST)
        self._samples = samples
        self._turn = 0
        self._regression: Regression | None = None

    @property
    def last(self) -> ir.Node:
        """The node that gives the output."""
        return self.place.last

    @property
    def bytes(self) -> int:
        """What the sums will take."""
        return Regression.bytes(*self._sizes)

    @property
    def _sizes(self) -> tuple[int, int, int]:
        layer = self.layer
        return layer.groups, layer.outputs // layer.groups, math.prod(layer.weight.shape) // layer.outputs

    def add(self, batch: Batch, target: Array) -> None:
        """What a batch made of the data in the model as it is, and of the output in the original.

        Raises:
            NoMatch: The original gives out something of another shape.
        """
        data, layer = batch.values[self.data], self.layer
        if not fits(layer, data, target):
            raise NoMatch(f"the original's '{self.target}' is of shape {list(target.shape)}: not what it gives out")
        positions = Positions(
            target.shape[2:] if layer.node.is_op("Conv", "ConvTranspose") else (), self._turn, self._positions
        )
        x, y = seen(layer, data, positions), wanted(layer, target, positions)
        self._turn += 1
        if self._regression is None:
            self._regression = Regression(*self._sizes)
        self._regression.add(x, y, held_out(batch.first, batch.samples, self._samples, x.shape[-1]))

    def settle(self, edit: Edit, ctx: Context) -> None:
        """After the last batch: fit, and write what is better.

        Raises:
            NoMatch: Nothing is.
        """
        assert self._regression is not None
        layer, bias = self.layer, self.place.bias
        factor = layer.alpha * self.place.scale.reshape(layer.groups, -1, 1)
        weights = layer.canonical(layer.weight.read()).reshape(self._sizes).astype(np.float64)
        shift = np.zeros(factor.shape) if bias is None else bias.reshape(factor.shape)
        start = np.concatenate([weights * factor, shift], axis=-1)
        keep = np.concatenate([weights != 0, np.full(factor.shape, bias is not None)], axis=-1)
        fit = self._regression.solve(start, keep & (factor != 0), factor[:, :, 0] != 0)
        self._regression = None
        if not fit.taken.any():
            raise NoMatch(f"nothing fits better: its error on data held out is {fit.before:.2%} of its output")
        change = f"weights fitted: error on data held out {fit.before:.2%} of the output, then {fit.after:.2%}"
        new = self._rounded(fit, factor)
        if ctx.allow(change, self.node):
            if bias is not None:
                self.place.write(edit, np.where(fit.taken.reshape(-1), fit.rows[:, :, -1].reshape(-1), bias))
            layer.write(edit, new, None)
            ctx.count("layers")
            ctx.count("outputs", int(fit.taken.sum()))

    def _rounded(self, fit: Fit, factor: npt.NDArray[np.float64]) -> Array:
        """The weights as they are stored; outputs that are not taken keep them."""
        old = self.layer.weight.read()
        new = np.array(old)
        view = self.layer.canonical(new)
        exact = fit.rows[:, :, :-1] / np.where(factor != 0, factor, 1.0) + 0.0  # a zero is no negative one
        view[fit.taken] = rounded(exact[fit.taken], old.dtype, "weights").reshape(-1, *view.shape[2:])
        return new
