"""What adapters ask about the values of a model; worked out when first asked for, which most conversions never do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from onnx import TensorProto, TypeProto

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir import skeleton as inferred
from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.shapes import derive
from onnxopt.ir.tensor import Constant, Tensor, Variable


class Facts:
    """Certain shapes, and the types of values."""

    def __init__(self, graph: Graph, shapes: Callable[[], ProvenShapes]) -> None:
        self._graph, self._make_shapes = graph, shapes

    @cached_property
    def _shapes(self) -> ProvenShapes:
        return self._make_shapes()

    @cached_property
    def _derived(self) -> tuple[dict[Variable, inferred.Facts], dict[Tensor, TypeProto]]:
        try:
            found, _, last = derive(self._graph)
        except BadModel:
            return {}, {}
        return found, last.types

    @cached_property
    def _edit(self) -> Edit:
        return Edit(self._graph)

    def is_used(self, tensor: Tensor) -> bool:
        """Whether a node reads a tensor or a graph gives it out."""
        return self._edit.is_used(tensor)

    def shape(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        """The certain shape of a tensor; None where not even the rank is certain."""
        return self._shapes.shape(tensor)

    def dtype(self, tensor: Tensor) -> dtypes.DType | None:
        """The element type of a tensor, as it follows from the interface and the operators or else is declared."""
        if isinstance(tensor, Constant):
            return tensor.dtype
        if tensor.dtype is not None and (tensor.type or "tensor_type") == "tensor_type":
            declared: dtypes.DType = tensor.dtype
            return declared  # a runtime refuses a model that declares another type than follows
        facts = self._derived[0].get(tensor)
        if facts is not None and facts.kind in (None, "tensor_type"):
            return facts.dtype
        return _produced(tensor)

    def type_text(self, tensor: Tensor) -> str | None:
        """A type as operator schemas write it: `tensor(float)`, `seq(tensor(int64))`; None where it is not known."""
        dtype = self.dtype(tensor)
        if dtype is not None:
            return f"tensor({_element(dtypes.to_onnx(dtype))})"
        full = self._derived[1].get(tensor)
        if full is None and tensor.info is not None:
            full = tensor.info.type
        return None if full is None else _text(full)


def _produced(tensor: Tensor) -> dtypes.DType | None:
    """The type of what a node gives out whatever it is given; all that is known in a function."""
    node = tensor.producer
    if node is None:
        return None
    if node.is_op("Cast"):
        code = node.attr("to")
        return dtypes.to_numpy(code) if isinstance(code, int) else None
    if node.is_op("Constant"):
        value = node.attr("value")
        if isinstance(value, Constant):
            return value.dtype
        value = known_value(tensor)
        return None if value is None else value.dtype
    return np.dtype(np.int64) if node.is_op("Shape", "Size") else None


def _element(code: int) -> str:
    return str(TensorProto.DataType.Name(code)).lower()


def _text(declared: TypeProto) -> str | None:
    kind = declared.WhichOneof("value")
    if kind == "tensor_type":
        code = declared.tensor_type.elem_type
        return f"tensor({_element(code)})" if code else None
    if kind == "sequence_type":
        inner = _text(declared.sequence_type.elem_type)
        return None if inner is None else f"seq({inner})"
    if kind == "optional_type":
        inner = _text(declared.optional_type.elem_type)
        return None if inner is None else f"optional({inner})"
    return None
