"""The node models that Qualcomm's HTP may be asked for: which of onnx.backend.test they are, what they must give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from conformance_cases import Case, cases, disagreement, names
from conformance_engines import run_in_onnxruntime
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper

from onnxopt.runtime.session import NotRunnable

Arrays: TypeAlias = "dict[str, npt.NDArray[Any]]"
SAMPLE = 482
"""Models of the sample: as many as the notes on Qualcomm's libraries tell of."""
_TYPES = (
    "FLOAT", "FLOAT16", "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
)  # fmt: skip
_CODES = {TensorProto.DataType.Value(name) for name in _TYPES}
_RTOL, _ATOL = 1e-3, 1e-5
_SNR = 40.0
"""dB that floating-point outputs must reach: HTP computes in float16, whose rounding alone is 64 dB and more."""
_ALL = tuple(range(1, 16))
_PARAMETERS: Mapping[str, Sequence[int]] = {
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
"""Inputs, by position, that models in use have as initializers: axes, shapes, bounds, scales, the weights of recurrent
layers. The node models have them as inputs, and HTP takes none of them so."""


@dataclass(frozen=True)
class NodeModel:
    """A model of one node, its inputs and the given outputs."""

    name: str
    op: str
    model: ModelProto
    feeds: Arrays
    given: Arrays


def node_models() -> Iterator[NodeModel]:
    """Every node model that qualifies, in the order of the names.

    One node of the default domain; inputs and outputs are tensors of fixed sizes, none of them empty, of types that HTP
    has in some form; and onnxruntime gives the given outputs.
    """
    wanted = [name for name in names() if name[0] == "node"]
    for case in cases(set(wanted)):
        if _may_qualify(case.model) and _is_right_in_onnxruntime(case):
            yield _with_parameters(case)


def sample(models: Sequence[NodeModel], size: int) -> list[NodeModel]:
    """So many of them, evenly spread over the names."""
    size = min(size, len(models))
    return [models[index * len(models) // size] for index in range(size)]


def _may_qualify(model: ModelProto) -> bool:
    if len(model.graph.node) != 1 or any(entry.domain not in ("", "ai.onnx") for entry in model.opset_import):
        return False
    return all(_is_fixed(info) for info in (*model.graph.input, *model.graph.output))


def _is_fixed(info: ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in _CODES or not tensor.HasField("shape"):
        return False
    return all(dim.HasField("dim_value") and dim.dim_value for dim in tensor.shape.dim)


def _is_right_in_onnxruntime(case: Case) -> bool:
    feeds, given = case.data[0]
    try:
        found = run_in_onnxruntime(case.model, feeds)
    except NotRunnable:
        return False
    return not any(disagreement(value, found[name], _RTOL, _ATOL) for name, value in given.items())


def _with_parameters(case: Case) -> NodeModel:
    model, (feeds, given) = ModelProto(), case.data[0]
    model.CopyFrom(case.model)
    node = model.graph.node[0]
    fixed = {node.input[index] for index in _PARAMETERS.get(node.op_type, ()) if index < len(node.input)}
    for info in [info for info in model.graph.input if info.name in fixed]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(feeds[info.name]), info.name))
        model.graph.input.remove(info)
    left = {name: np.asarray(value) for name, value in feeds.items() if name not in fixed}
    return NodeModel(case.name, node.op_type, model, left, {name: np.asarray(value) for name, value in given.items()})


def fault(given: Arrays, found: Mapping[str, npt.NDArray[Any]]) -> str:
    """Why outputs are not the given ones, but for the rounding of float16; empty where they are."""
    for name, one in given.items():
        if name not in found:
            return f"no output '{name}'"
        other = np.asarray(found[name])
        if other.shape != one.shape or other.dtype != one.dtype:
            return f"'{name}' is {other.dtype}{list(other.shape)} instead of {one.dtype}{list(one.shape)}"
        if one.dtype.kind != "f":
            if count := int(np.sum(one != other)):
                return f"{count} of {one.size} elements of '{name}' differ"
        elif why := _float_fault(one.astype(np.float64), other.astype(np.float64)):
            return f"'{name}': {why}"
    return ""


def _float_fault(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> str:
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True) or not np.isfinite(other[finite]).all():
        return "NaN or infinities differ"
    noise, signal = float(np.sum((one - other)[finite] ** 2)), float(np.sum(one[finite] ** 2))
    snr = math.inf if not noise else -math.inf if not signal else 10 * math.log10(signal / noise)
    return "" if snr >= _SNR else f"{snr:.1f} dB"
