"""Second moments of what layers read, made fit to be inverted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt.activations.second_order import gathered
from onnxopt.activations.streaming import Report
from onnxopt.data import DataSet
from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.pruning.channels.prior import trained_variance
from onnxopt.pruning.channels.reader import Reader

Floats = npt.NDArray[np.float64]
_FLOOR = 1e-4
"""Of the mean variance, added to each: data that do not vary must not be inverted."""
_MOST = 900.0
"""Times that a variance is raised."""


@dataclass(frozen=True)
class Moments:
    """What is known of the data of a layer."""

    mean: Floats
    covariance: Floats
    """About the mean, or about 0 where the layer has no bias; damped."""


def moments_of(edit: Edit, readers: Mapping[Node, Reader], data: DataSet, report: Report | None) -> dict[Node, Moments]:
    """The moments of each layer's data, in as few runs over the data as memory allows.

    They are all held: 8 bytes for the square of the weights of one output, for each layer.
    """
    found = {}
    for reader, seen in gathered(edit.main, list(readers.values()), lambda reader: reader.layer, data, report):
        covariance = seen.moments(centered=reader.has_bias)[0]
        samples = math.sqrt((data.length or seen.positions) * seen.positions)
        trained = trained_variance(reader) if reader.has_bias else None
        covariance = shrunk(covariance, samples)
        found[reader.node] = Moments(seen.mean[0], covariance if trained is None else spread(covariance, trained))
    return found


def shrunk(covariance: Floats, samples: float) -> Floats:
    """A covariance of few samples, its correlations drawn towards 0 as far as they may be chance.

    By Oracle Approximating Shrinkage (Chen et al. 2010, "Shrinkage algorithms for MMSE covariance estimation", eq. 23)
    of the correlations. Neighbours in an image say nearly the same: of p positions of n samples, sqrt(n p) count.
    """
    size = len(covariance)
    variance = np.diag(covariance).copy()
    floor = _FLOOR * max(float(variance.mean()), 1e-12)
    root = np.sqrt(np.maximum(variance, 1e-30))
    correlation = covariance / root / root[:, None]
    square, trace = float(np.sum(correlation**2)), float(np.trace(correlation))
    above = (1 - 2 / size) * square + trace**2
    below = (samples + 1 - 2 / size) * (square - trace**2 / size)
    share = min(1.0, above / below) if below > 0 else 1.0
    found = covariance * (1 - share)
    found[np.diag_indices_from(found)] += share * variance + floor
    return np.asarray(found)


def spread(covariance: Floats, trained: Floats) -> Floats:
    """A covariance in which no channel varies less than it did in training, by comparison with the others.

    Args:
        covariance: Of [channels * taps].
        trained: The variance of each channel in training, but for one factor of all.
    """
    variance = np.diag(covariance)
    wanted = np.repeat(trained, len(variance) // len(trained))
    wanted = wanted * (float(variance.sum()) / max(float(wanted.sum()), 1e-30))
    factor = np.sqrt(np.clip(wanted / np.maximum(variance, 1e-30), 1.0, _MOST))
    return np.asarray(covariance * factor * factor[:, None])
