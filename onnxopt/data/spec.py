"""What a model takes and gives: the name, kind, dtype and shape of each input and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorShapeProto, TypeProto, ValueInfoProto

from onnxopt.ir import dtypes

Array = npt.NDArray[Any]
Value = Any
"""A tensor is an array, a sequence a list, a map a dict, an empty optional None (as onnxruntime has it)."""
Feeds = dict[str, Value]
"""Values by input name."""
Shape = tuple[int | str | None, ...]
Kind = Literal["tensor", "sequence", "optional", "map", "sparse_tensor"]


@dataclass(frozen=True)
class ValueSpec:
    """The declared type of one input or output."""

    name: str
    kind: Kind = "tensor"
    dtype: np.dtype[Any] | None = None
    """Of the tensor, or of the tensors in the sequence or optional. Strings are `object`; None is not declared."""
    shape: Shape | None = None
    """One size, symbol or None (unknown) an axis; None altogether when not even the rank is declared."""
    of: ValueSpec | None = None
    """What a sequence, an optional or a map holds."""

    def __str__(self) -> str:
        if self.of is not None:
            return f"{self.kind}({self.of})"
        return f"{self.dtype}{show_shape(self.shape)}"


def inputs_of(model: ModelProto) -> list[ValueSpec]:
    """The inputs that a caller must feed: those without an initializer to stand for them (IR version >= 4)."""
    defaults = {i.name for i in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    return [spec_of(value) for value in model.graph.input if value.name not in defaults]


def outputs_of(model: ModelProto) -> list[ValueSpec]:
    """The outputs of the main graph, in order."""
    return [spec_of(value) for value in model.graph.output]


def spec_of(value: ValueInfoProto) -> ValueSpec:
    """The declared type of one value."""
    return _spec(value.name, value.type)


def show_shape(shape: Sequence[int | str | None] | None) -> str:
    """A shape as messages print it: `[N, 3, ?]`, or `[...]` for an unknown rank."""
    if shape is None:
        return "[...]"
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _spec(name: str, declared: TypeProto) -> ValueSpec:
    match declared.WhichOneof("value"):
        case "sequence_type":
            return _holding(name, "sequence", _spec(name, declared.sequence_type.elem_type))
        case "optional_type":
            return _holding(name, "optional", _spec(name, declared.optional_type.elem_type))
        case "map_type":
            return _holding(name, "map", _spec(name, declared.map_type.value_type))
        case "sparse_tensor_type":
            return _tensor(name, "sparse_tensor", declared.sparse_tensor_type)
        case _:
            return _tensor(name, "tensor", declared.tensor_type)


def _holding(name: str, kind: Kind, of: ValueSpec) -> ValueSpec:
    return ValueSpec(name, kind, of.dtype, of.shape, of)


def _tensor(name: str, kind: Kind, declared: TypeProto.Tensor | TypeProto.SparseTensor) -> ValueSpec:
    shape: Shape | None = None
    if declared.HasField("shape"):
        shape = tuple(_size(dim) for dim in declared.shape.dim)
    return ValueSpec(name, kind, dtypes.to_numpy(declared.elem_type), shape)


def _size(dim: TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None  # PaddlePaddle's exporter writes -1 for unknown
    return dim.dim_param or None
