"""Inputs of node models that models in use have as constants: axes, shapes, bounds, scales, recurrent weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper

_ALL = tuple(range(1, 16))
PARAMETERS: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(
        (
            "AffineGrid", "BatchNormalization", "CenterCropPad", "Clip", "Col2Im", "CumProd", "CumSum", "DFT",
            "DequantizeLinear", "Dropout", "Expand", "OneHot", "Pad", "QuantizeLinear", "ReduceL1", "ReduceL2",
            "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
            "ReduceSumSquare", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "TopK", "Trilu", "Unsqueeze",
            "Upsample",
        ),
        _ALL,
    ),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (1, 2, 3, 4)),
    "ConstantOfShape": (0,),
    "MaxUnpool": (2,),
    "NonMaxSuppression": (2, 3, 4),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "Range": (0, 1, 2),
    "STFT": (1, 2, 3),
}  # fmt: skip
"""Positions, by operator."""


def with_parameters(given: ModelProto, feeds: Mapping[str, Any]) -> tuple[ModelProto, dict[str, Any]]:
    """The model with those inputs as initializers, and what is left to feed.

    An input counts where every node that reads it has it as a parameter.
    """
    model = ModelProto()
    model.CopyFrom(given)
    readers: dict[str, list[bool]] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            readers.setdefault(name, []).append(index in PARAMETERS.get(node.op_type, ()))
    fixed = {info.name for info in model.graph.input if info.name in feeds and all(readers.get(info.name, [False]))}
    for info in [info for info in model.graph.input if info.name in fixed]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(feeds[info.name]), info.name))
        model.graph.input.remove(info)
    return model, {name: value for name, value in feeds.items() if name not in fixed}
