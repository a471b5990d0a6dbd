"""The words of ONNX's textual syntax (onnx/defs/parser.h): identifiers, strings, numbers, types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto

from onnxopt.ir import dtypes
from onnxopt.ir.tensor import Dim

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE_NAMES = {code: name.lower() for name, code in TensorProto.DataType.items()}
_TYPE_WORDS = {*_TYPE_NAMES.values(), "seq", "map", "optional", "sparse_tensor", "opaque"}
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


def is_identifier(text: str) -> bool:
    """Whether the parser takes it without quotes."""
    return _IDENTIFIER.fullmatch(text) is not None


def identifier(name: str) -> str:
    """A name: bare where the parser takes it so, else quoted."""
    return name if _IDENTIFIER.fullmatch(name) and name not in _TYPE_WORDS else quoted(name)


def quoted(text: str | bytes) -> str:
    """A string literal on one line, whatever is in it.

    The parser knows backslash and quote as escapes. Control characters, bidirectional marks and other invisible ones
    are escaped as in Python, so that they can neither break a line nor reorder it; the parser does not know these.
    """
    if isinstance(text, bytes):
        return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'\\"' else _byte(b) for b in text) + '"'
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _escape(ord(c))) for c in text) + '"'


def _byte(byte: int) -> str:
    return _ESCAPES.get(chr(byte)) or f"\\x{byte:02x}"


def _escape(point: int) -> str:
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def shortened(text: str | bytes, limit: int) -> str:
    """A string literal; where it is over `limit` characters its beginning, and `...` that no parser takes."""
    return quoted(text) if len(text) <= limit else f"{quoted(text[:limit])}..."


def number(value: Any) -> str:
    """An integer, or a float as attributes hold it: of single precision, by the fewest digits that give it back."""
    if not isinstance(value, float):
        return str(int(value))
    if abs(value) > _LARGEST_SINGLE:
        return "inf" if value > 0 else "-inf"
    text = str(np.float32(value))
    return text if any(c in text for c in ".en") else f"{text}.0"


def attribute_type(code: Any) -> str:
    """`int`, `floats`, `tensor`, ... of an `AttributeProto.AttributeType`."""
    return AttributeProto.AttributeType.Name(code).lower()


def tensor_type(dtype: Any, shape: Iterable[Dim] | None) -> str:
    """`float[N,3]`; `float` is a scalar, `float[]` of unknown rank, `[?]` an unknown dimension."""
    return _shaped("undefined" if dtype is None else _TYPE_NAMES[dtypes.to_onnx(dtype)], shape)


def _shaped(name: str, shape: Iterable[Dim] | None) -> str:
    if shape is None:
        return f"{name}[]"
    dims = ",".join([str(dim) if type(dim) is int and dim >= 0 else _dim(dim) for dim in shape])
    return f"{name}[{dims}]" if dims else name


def _dim(dim: Dim) -> str:
    if isinstance(dim, str):
        return identifier(dim) if dim else "?"
    return "?" if dim is None or dim < 0 else str(dim)


def declared_type(proto: TypeProto) -> str:
    """Any type: `seq(float[N])`, `optional(seq(int64))`, `map(int64, float)`, `sparse_tensor(float[3,3])`."""
    kind = proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(proto, kind)
        shape = [_proto_dim(dim) for dim in tensor.shape.dim] if tensor.HasField("shape") else None
        text = _shaped(_TYPE_NAMES.get(tensor.elem_type, "undefined"), shape)
        return text if kind == "tensor_type" else f"sparse_tensor({text})"
    if kind == "sequence_type":
        return f"seq({declared_type(proto.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({declared_type(proto.optional_type.elem_type)})"
    if kind == "map_type":
        key = _TYPE_NAMES.get(proto.map_type.key_type, "undefined")
        return f"map({key}, {declared_type(proto.map_type.value_type)})"
    if kind == "opaque_type":
        return f"opaque({identifier(proto.opaque_type.domain)},{identifier(proto.opaque_type.name)})"
    return ""


def _proto_dim(dim: Any) -> Dim:
    return int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None
