"""What a ValueInfoProto declares, as the dtype, shape and type of a Variable, and back."""

from __future__ import annotations

from typing import Any

from onnx import TensorShapeProto, TypeProto, ValueInfoProto

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.fields import text, write_props
from onnxopt.ir.tensor import Constant, Dim, Shape, Tensor, Variable

_SHAPED = ("tensor_type", "sparse_tensor_type")


def facts(declared: TypeProto) -> tuple[dtypes.DType | None, Shape | None, str | None]:
    """dtype, shape and kind of a type.

    A sequence or optional gives the dtype of the tensors in it and no shape, as in graphsurgeon.
    """
    kind = declared.WhichOneof("value")
    if kind in _SHAPED:
        tensor = getattr(declared, kind)
        shape = [dim.dim_value or _dim(dim) for dim in tensor.shape.dim] if tensor.HasField("shape") else None
        return dtypes.to_numpy(tensor.elem_type), shape, kind
    inner = declared
    while inner.WhichOneof("value") in ("sequence_type", "optional_type"):
        inner = getattr(inner, inner.WhichOneof("value")).elem_type
    elem = inner.tensor_type.elem_type if inner.HasField("tensor_type") else 0
    return dtypes.to_numpy(elem), None, kind


def _dim(dim: TensorShapeProto.Dimension) -> Dim:
    kind = dim.WhichOneof("value")
    if kind == "dim_value":
        return int(dim.dim_value)
    return text(dim.dim_param) or None if kind == "dim_param" else None


def write_info(tensor: Tensor, out: ValueInfoProto, info: ValueInfoProto | None = None) -> None:
    """Declare `tensor` in `out`: as the file did (`info`, or the tensor's own), changed where a pass changed it."""
    declared = info or tensor.info
    if declared is not None:
        out.CopyFrom(declared)
    if out.name != tensor.name or declared is None:
        out.name = tensor.name
    if declared is None and isinstance(tensor, Variable) and tensor.type == "tensor_type":
        if _has_facts(tensor):
            _write_tensor_type(out.type.tensor_type, tensor.dtype, tensor.shape)
        stamp(tensor, out)
    elif isinstance(tensor, Variable):
        if info is None or _is_changed(tensor):  # `info` may contradict the tensor's own: that is the file's affair
            _write_type(tensor, out.type if _has_facts(tensor) or out.HasField("type") else TypeProto())
        if info is None:
            stamp(tensor, out)
    elif isinstance(tensor, Constant) and (tensor.is_new or declared is None):
        _write_tensor_type(out.type.tensor_type, tensor.dtype, list(tensor.shape))


def _has_facts(tensor: Variable) -> bool:
    return tensor.dtype is not None or tensor.shape is not None


def _is_changed(tensor: Variable) -> bool:
    if tensor.info is None:
        return _has_facts(tensor)
    return facts(tensor.info.type) != (tensor.dtype, tensor.shape, tensor.type)


def _write_type(tensor: Variable, out: TypeProto) -> None:
    dtype, shape, declared = facts(out)
    if dtypes.same(dtype, tensor.dtype) and (shape, declared) == (tensor.shape, tensor.type):
        return
    kind = tensor.type or "tensor_type"
    if kind in _SHAPED:
        _write_tensor_type(getattr(out, kind), tensor.dtype, tensor.shape)
    elif kind in ("sequence_type", "optional_type") and tensor.dtype is not None:
        elem = getattr(out, kind).elem_type
        while elem.WhichOneof("value") in ("sequence_type", "optional_type"):
            elem = getattr(elem, elem.WhichOneof("value")).elem_type
        elem.tensor_type.elem_type = dtypes.to_onnx(tensor.dtype)
    elif out.WhichOneof("value") != kind:
        raise BadModel(f"'{tensor.name}' is declared as {kind} without saying of what; set a dtype")


def _write_tensor_type(out: Any, dtype: dtypes.DType | None, shape: Shape | None) -> None:
    if dtype is not None and not dtypes.same(dtypes.to_numpy(out.elem_type), dtype):
        out.elem_type = dtypes.to_onnx(dtype)
    elif not out.HasField("elem_type"):
        out.elem_type = 0  # an element type that is not known is written as UNDEFINED
    if shape is None:
        out.ClearField("shape")
        return
    out.shape.SetInParent()
    if len(out.shape.dim) != len(shape):
        del out.shape.dim[:]
    if not out.shape.dim:
        for dim in shape:
            if isinstance(dim, str):
                out.shape.dim.add(dim_param=dim)
            elif dim is None or dim < 0:
                out.shape.dim.add()
            else:
                out.shape.dim.add(dim_value=dim)
        return
    for index, dim in enumerate(shape):
        place = out.shape.dim[index] if index < len(out.shape.dim) else out.shape.dim.add()
        if _dim(place) == dim:
            continue
        if isinstance(dim, str):
            place.dim_param = dim
        elif dim is None or dim < 0:
            place.ClearField("value")
        else:
            place.dim_value = dim


def stamp(tensor: Tensor, out: Any) -> None:
    """Write doc string and metadata into a ValueInfoProto or TensorProto, where they differ from it."""
    if tensor.doc_string != out.doc_string:
        out.doc_string = tensor.doc_string
    if "_metadata_props" in tensor.__dict__:
        write_props(tensor.metadata_props, out)
