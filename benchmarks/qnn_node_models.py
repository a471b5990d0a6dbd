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
from node_parameters import with_parameters
from onnx import ModelProto, TensorProto, ValueInfoProto

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
            yield _as_deployed(case)


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


def _as_deployed(case: Case) -> NodeModel:
    """With initializers for what models in use have as such: HTP takes none of it as an input."""
    feeds, given = case.data[0]
    model, left = with_parameters(case.model, {name: np.asarray(value) for name, value in feeds.items()})
    op = model.graph.node[0].op_type
    return NodeModel(case.name, op, model, left, {name: np.asarray(value) for name, value in given.items()})


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
