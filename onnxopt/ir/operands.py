"""Tensors, attributes and types of values in ONNX's textual syntax, and the notes on what it cannot say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto, ValueInfoProto
from onnx_graphsurgeon.util.misc import convert_to_onnx_attr_type

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.attributes import code_of, normalized
from onnxopt.ir.declared import write_info
from onnxopt.ir.digest import converted, of_text, raw_data, short
from onnxopt.ir.node import Node
from onnxopt.ir.syntax import (
    attribute_type,
    declared_type,
    identifier,
    number,
    quoted,
    shortened,
    tensor_type,
)
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import SparseValues

_ELEMENTS = 8
"""Elements of a tensor that are printed."""
_ITEMS = 64
"""Items of an attribute's list that are printed."""
_STRING = 1000
"""Characters of an attribute's string that are printed."""
_DOC = 40
"""Characters of a doc string that stand at the end of a line."""
_BIT_PATTERNS = {
    code
    for name, code in TensorProto.DataType.items()
    if name.startswith(("FLOAT4", "FLOAT6", "FLOAT8", "FLOAT16", "BFLOAT16")) or name.endswith(("INT4", "INT2"))
}
"""Element types whose numbers the syntax gives as the integers that `int32_data` holds."""


def attribute(name: str, value: Any, shell: AttributeProto | None, notes: list[str]) -> str:
    """`axis = 1`, `axes: ints = []`, `alpha: float = @alpha`; what the line cannot hold goes into the notes."""
    name = identifier(name)
    if shell is not None and shell.doc_string:
        notes.append(f"{name}: doc {shortened(shell.doc_string, _DOC)} {of_text(shell.doc_string)}")
    if type(value) is int:
        return f"{name} = {value}"
    if isinstance(value, Node.AttributeRef):
        code = shell.type if shell is not None else convert_to_onnx_attr_type(value.type)
        return f"{name}: {attribute_type(code)} = @{identifier(value.name)}"
    value = normalized(value)
    if value == []:
        return f"{name}: {attribute_type(AttributeProto.UNDEFINED if shell is None else shell.type)} = []"
    return f"{name} = {_value(value, name, notes)}"


def _value(value: Any, name: str, notes: list[str]) -> str:
    if isinstance(value, (str, bytes)):
        if len(value) > _STRING:
            notes.append(f"{name}: {len(value)} long, {of_text(value)}")
        return shortened(value, _STRING)
    if isinstance(value, list):
        return _list(value, name, notes)
    if isinstance(value, Constant):
        data, more = tensor_data(value)
        notes += [f"{name} {note}" for note in (*more, *remarks(value))]
        return f"{constant_type(value)}{f' {identifier(value.name)} =' if value.name else ''} {data}"
    if isinstance(value, TypeProto):
        return declared_type(value)
    return number(value) if isinstance(value, (int, float)) else quoted(str(value))


def _list(items: list[Any], name: str, notes: list[str]) -> str:
    if code_of(items) == AttributeProto.FLOATS:  # integers among the floats are floats
        items = [float(item) for item in items]
    rest = ""
    if len(items) > _ITEMS and isinstance(items[0], (int, float, str, bytes)):
        notes.append(
            f"{name}: {len(items)} items, {of_text([number(i) if isinstance(i, float) else i for i in items])}"
        )
        items, rest = items[:_ELEMENTS], ", ..."
    return f"[{', '.join(_value(item, name, notes) for item in items)}{rest}]"


def tensor_data(constant: Constant) -> tuple[str, list[str]]:
    """The data of a tensor, `{1, 2}`, or `{...}` above 8 elements; and the notes on it: digest, or readable numbers."""
    if isinstance(constant._values, SparseValues):
        return "{...}", [f"sparse {short(constant)}"]
    if math.prod(constant.shape) > _ELEMENTS:
        return "{...}", [short(constant)]
    array = converted(constant)
    code = dtypes.to_onnx(array.dtype)
    if code == TensorProto.STRING:
        return _braces(quoted(item if isinstance(item, bytes) else str(item)) for item in array.flat), []
    if code in _BIT_PATTERNS:
        bits = np.frombuffer(raw_data(array), np.uint16 if array.dtype.itemsize == 2 else np.uint8)
        readable = ", ".join(str(item) for item in array.flat)
        return _braces(str(pattern) for pattern in bits), [f"= {readable}"] if readable else []
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array).reshape(-1).view(array.real.dtype)
    return _braces(_element(item) for item in array.flat), []


def _element(item: Any) -> str:
    text = str(int(item)) if isinstance(item, np.bool_) else str(item)
    return text[:-2] if text.endswith(".0") else text


def _braces(items: Iterable[str]) -> str:
    return "{" + ", ".join(items) + "}"


def constant_type(constant: Constant) -> str:
    """`float[64,3,3,3]`."""
    return tensor_type(constant.dtype if constant._export_dtype is None else constant._export_dtype, constant.shape)


def type_of(tensor: Tensor) -> str:
    """The type of a value; "" where nothing is known."""
    if isinstance(tensor, Constant):
        return constant_type(tensor)
    if tensor.type in ("tensor_type", None):
        known = tensor.dtype is not None or tensor.shape is not None
        return tensor_type(tensor.dtype, tensor.shape) if known else ""
    info = ValueInfoProto()
    try:
        write_info(tensor, info)
    except BadModel:  # it says that it is a sequence, and not of what
        return str(tensor.type)
    return declared_type(info.type)


def remarks(holder: Any) -> list[str]:
    """Doc string and metadata of a node or tensor, short enough for the end of a line."""
    notes = []
    if holder.doc_string:
        notes.append(f"doc {shortened(holder.doc_string, _DOC)} {of_text(holder.doc_string)}")
    if holder.__dict__.get("_metadata_props"):
        props = holder.metadata_props
        notes.append(f"{len(props)} metadata_props {of_text(sorted(props.items()))}")
    return notes
