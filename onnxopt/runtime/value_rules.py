"""The table behind value_needs: which input of which operator takes only certain values, and which.

Sources: the operator specifications of ONNX. Indices must be in range, integer divisors not zero, and sizes, axes and
counts such that the operator has something to do. Where several values would do, those that keep the shape are taken,
since what follows was built for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto

from onnxopt.data.spec import Array

SEQUENCE_LENGTH = 3
"""Of a generated sequence; positions in one stay below."""


@dataclass(frozen=True)
class Between:
    """Random values, low <= v < high."""

    low: float
    high: float


Need = Between | Array
"""Random values in a range, or exactly these (repeated to fill the input)."""


@dataclass(frozen=True)
class Use:
    """An operator reading a graph input, or what a chain of reshapes and casts made of it."""

    node: NodeProto
    slot: int
    shape: tuple[int, ...]
    """Of the graph input."""
    known: Mapping[str, tuple[int | None, ...]]
    limit: int
    """The size to assume for an axis that `known` does not tell."""

    @property
    def count(self) -> int:
        """Elements in the input."""
        return math.prod(self.shape)

    def dims(self, slot: int = 0) -> tuple[int | None, ...]:
        """The shape of another input of the node; empty when unknown."""
        return self.known.get(self.node.input[slot], ()) if slot < len(self.node.input) else ()

    def size(self, axis: int, slot: int = 0) -> int:
        """The size of one axis of another input of the node."""
        dims = self.dims(slot)
        size = dims[axis] if -len(dims) <= axis < len(dims) else None
        return self.limit if size is None else size

    def attribute(self, name: str, default: int) -> int:
        """An integer attribute."""
        return next((a.i for a in self.node.attribute if a.name == name), default)


Rule = Callable[[Use], Need]


def exactly(*numbers: Any) -> Rule:
    """These values."""
    return lambda use: np.array(numbers)


def indices(axis: int, slot: int = 0) -> Rule:
    """Positions along one axis of another input."""
    return lambda use: Between(0, use.size(axis, slot))


def lengths(axis: int) -> Rule:
    """Lengths along one axis of the first input, which are at least 1."""
    return lambda use: Between(1, use.size(axis) + 1)


def _axis_indices(use: Use) -> Need:
    return Between(0, use.size(use.attribute("axis", 0)))


def _gather_nd(use: Use) -> Need:
    first = use.attribute("batch_dims", 0)
    return Between(0, min(use.size(first + i) for i in range(max(1, (use.shape or (1,))[-1]))))


def _all_axes(use: Use) -> Need:
    return np.arange(use.count)


def _unit_axes(use: Use) -> Need:
    return np.array([axis for axis, size in enumerate(use.dims()) if size == 1][: use.count] or [0])


def _same_size(use: Use) -> Need:
    """The declared size of the output, else of the first input, else something of as many axes."""
    outputs = use.known.get(use.node.output[0], ())
    for dims in (outputs, use.dims()):
        sizes = [size for size in dims if size is not None]
        if len(sizes) == len(dims) == use.count:
            return np.array(sizes)
    return np.array([-1] + [1] * (use.count - 1))


def _resized(use: Use) -> Need:
    """The size that the axes have."""
    axes = next((list(a.ints) for a in use.node.attribute if a.name == "axes"), list(range(use.count)))
    return np.array([use.size(axis) for axis in axes])


def _expanded(use: Use) -> Need:
    found = _same_size(use)
    return found if isinstance(found, np.ndarray) and (found > 0).all() else np.array([1])


def _parts(use: Use) -> Need:
    """Equal parts of an axis, the last ones smaller by one."""
    size, parts = use.size(use.attribute("axis", 0)), max(1, use.count)
    return np.array([size // parts + (i < size % parts) for i in range(parts)])


def _chunk(use: Use) -> Need:
    return _parts(use) if use.shape else np.array([1])


def _top(use: Use) -> Need:
    return np.array([min(2, use.size(use.attribute("axis", -1)))])


_END = np.iinfo(np.int32).max
_POSITIVE = Between(0.5, 1.5)
_SCALE = Between(0.01, 0.1)
_WINDOWS = ("BlackmanWindow", "HammingWindow", "HannWindow")
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

RULES: dict[tuple[str, int], Rule] = {
    # indices
    ("Gather", 1): _axis_indices,
    ("GatherElements", 1): _axis_indices,
    ("Scatter", 1): _axis_indices,
    ("ScatterElements", 1): _axis_indices,
    ("GatherND", 1): _gather_nd,
    ("ScatterND", 1): _gather_nd,
    ("ArrayFeatureExtractor", 1): indices(-1),
    ("EmbedLayerNormalization", 0): indices(0, 2),
    ("EmbedLayerNormalization", 1): indices(0, 4),
    ("NegativeLogLikelihoodLoss", 1): indices(1),
    ("SoftmaxCrossEntropyLoss", 1): indices(1),
    ("RoiAlign", 2): indices(0),
    ("MaxUnpool", 1): lambda use: Between(0, math.prod(size or 1 for size in use.dims())),
    ("TensorScatter", 2): exactly(0),
    ("SequenceAt", 1): lambda use: Between(0, SEQUENCE_LENGTH),
    ("SequenceErase", 1): lambda use: Between(0, SEQUENCE_LENGTH),
    ("SequenceInsert", 2): lambda use: Between(0, SEQUENCE_LENGTH),
    # lengths
    ("ReverseSequence", 1): lambda use: Between(1, use.size(use.attribute("time_axis", 0)) + 1),
    **{(op, 4): lengths(0) for op in ("GRU", "LSTM", "RNN")},
    # shapes and sizes
    ("AffineGrid", 1): _same_size,
    ("CenterCropPad", 1): _resized,
    ("ConstantOfShape", 0): exactly(2),
    ("Expand", 1): _expanded,
    ("Reshape", 1): _same_size,
    ("Resize", 1): lambda use: np.repeat([0, 1], max(1, use.count // 2)),
    ("Resize", 2): exactly(1),
    ("Resize", 3): _resized,
    ("Tile", 1): exactly(2),
    ("Upsample", 1): exactly(1),
    ("Split", 1): _parts,
    ("SplitToSequence", 1): _chunk,
    ("Pad", 1): exactly(1),
    ("Slice", 1): exactly(0),
    ("Slice", 2): exactly(_END),
    ("Slice", 4): exactly(1),
    # axes
    ("CumProd", 1): exactly(0),
    ("CumSum", 1): exactly(0),
    ("Pad", 3): _all_axes,
    ("Slice", 3): _all_axes,
    ("Squeeze", 1): _unit_axes,
    ("Unsqueeze", 1): _all_axes,
    **{(f"Reduce{kind}", 1): _all_axes for kind in _REDUCTIONS},
    # counts and flags
    ("Dropout", 1): exactly(0.5),
    ("Dropout", 2): exactly(False),
    ("Loop", 0): exactly(3),
    ("Loop", 1): exactly(True),
    ("NonMaxSuppression", 2): exactly(3),
    ("NonMaxSuppression", 3): exactly(0.5),
    ("NonMaxSuppression", 4): exactly(0),
    ("OneHot", 1): exactly(5),
    ("Range", 0): exactly(0),
    ("Range", 1): exactly(5),
    ("Range", 2): exactly(1),
    ("TopK", 1): _top,
    ("Trilu", 1): exactly(0),
    # signals
    ("DFT", 1): lambda use: np.array([use.size(use.attribute("axis", 1))]),
    ("DFT", 2): exactly(1),
    ("STFT", 1): exactly(4),
    ("STFT", 3): exactly(8),
    **{("MelWeightMatrix", slot): exactly(value) for slot, value in enumerate((8, 64, 8000, 0, 4000))},
    **{(op, 0): exactly(8) for op in _WINDOWS},
    # numbers that an operator divides or shifts by, or takes the root of
    ("BatchNormalization", 4): lambda use: _POSITIVE,
    ("BitShift", 1): lambda use: Between(0, 8),
    ("Div", 1): lambda use: Between(1, 9),
    ("Mod", 1): lambda use: Between(1, 9),
    ("DequantizeLinear", 1): lambda use: _SCALE,
    ("QuantizeLinear", 1): lambda use: _SCALE,
    **{(op, slot): lambda use: _SCALE for op in ("QLinearConv", "QLinearMatMul") for slot in (1, 4, 6)},
}
"""A rule by operator and input slot."""
