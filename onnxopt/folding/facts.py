"""What is known of tensors before the model runs: values, or else types, and how many bytes they take."""

from __future__ import annotations

import math
from collections.abc import Callable

from onnx import TensorProto, TypeProto, helper, numpy_helper

from onnxopt.ir import dtypes
from onnxopt.ir.exporter import inline
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array

SMALL = 1024
"""Values of at most so many elements (shapes, axes, repeats) are looked at to tell the size of what they shape."""


class Facts:
    """Facts by tensor, of whatever scope."""

    def __init__(self) -> None:
        self.leaves: dict[Tensor, Constant] = {}
        """Outputs of Constant nodes that stay nodes, with the attribute that holds their value."""
        self.types: dict[Tensor, TypeProto] = {}
        """Types of tensors that are not constant, or not yet."""
        self.shapes: dict[Tensor, tuple[int, ...]] = {}
        """Shapes of tensors that are certain though their type may not be known."""
        self.certain: Callable[[Tensor], tuple[int, ...] | None] = lambda tensor: None
        """Asked for the shape of a result where onnx cannot tell it."""
        self.values: dict[Tensor, Array] = {}
        """Values computed so far."""
        self._protos: dict[Tensor, TensorProto] = {}
        self._dims: dict[Tensor, tuple[int, ...]] = {}

    def leaf(self, tensor: Tensor) -> Constant | None:
        """The constant whose value the model gives to a tensor; None where it has to be computed."""
        return tensor if isinstance(tensor, Constant) else self.leaves.get(tensor)

    def is_valued(self, tensor: Tensor) -> bool:
        """Whether the value itself is at hand."""
        return isinstance(tensor, Constant) or tensor in self.values or tensor in self.leaves

    def type(self, tensor: Tensor) -> TypeProto | None:
        """The type of a tensor; None while it is not known."""
        known = self.types.get(tensor)
        if known is None and (leaf := self.leaf(tensor)) is not None:
            known = self.types[tensor] = helper.make_tensor_type_proto(dtypes.to_onnx(leaf.dtype), leaf.shape)
        return known

    def dims(self, tensor: Tensor) -> tuple[int, ...] | None:
        """The shape of a tensor; None unless every dimension is a known number."""
        dims = self._dims.get(tensor)
        if dims is None:
            known = self.type(tensor)
            dims = self.shapes.get(tensor) if known is None else static_dims(known)
            if dims is not None:  # once all are known, they stay
                self._dims[tensor] = dims
        return dims

    def proto(self, tensor: Tensor) -> TensorProto | None:
        """A small value as shape inference takes it; None where it is large or not at hand."""
        if tensor not in self._protos:
            if not self.is_valued(tensor) or math.prod(self.dims(tensor) or ()) > SMALL:
                return None
            self._protos[tensor] = self.write(tensor)
        return self._protos[tensor]

    def write(self, tensor: Tensor) -> TensorProto:
        """The value of a tensor that is valued, of any size."""
        out = TensorProto()
        leaf = self.leaf(tensor)
        if leaf is None:
            out.CopyFrom(numpy_helper.from_array(self.values[tensor]))
        else:
            inline(leaf, out)
        return out

    def read(self, tensor: Tensor) -> Array:
        """The value of a tensor that is valued, read-only."""
        leaf = self.leaf(tensor)
        return self.values[tensor] if leaf is None else leaf.read()

    def put(self, tensor: Tensor, value: Array) -> None:
        """Keep a computed value."""
        self.values[tensor] = value
        self.types[tensor] = helper.make_tensor_type_proto(dtypes.to_onnx(value.dtype), value.shape)

    def nbytes(self, tensor: Tensor) -> int:
        """Bytes that a tensor of known type and shape takes in a file; strings count nothing."""
        known, dims = self.type(tensor), self.dims(tensor)
        if known is None or dims is None:
            raise ValueError(f"the size of '{tensor.name}' is not known")
        return dtypes.stored_bytes(known.tensor_type.elem_type, math.prod(dims)) or 0


def static_dims(declared: TypeProto) -> tuple[int, ...] | None:
    """The dimensions of a tensor type; None unless all are known numbers."""
    if declared.WhichOneof("value") != "tensor_type" or not declared.tensor_type.HasField("shape"):
        return None
    dims = declared.tensor_type.shape.dim
    if all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
        return tuple(dim.dim_value for dim in dims)
    return None
