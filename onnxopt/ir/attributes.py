"""Attributes: AttributeProto <-> Python values, without losing what a Python value cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, SparseTensorProto, TensorProto, TypeProto, numpy_helper
from onnx_graphsurgeon.util.misc import convert_from_onnx_attr_type, convert_to_onnx_attr_type

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.fields import copy_presence, read_props, text
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import SparseValues, Values

A = AttributeProto
_FIELDS: dict[Any, str] = {
    A.FLOAT: "f", A.INT: "i", A.STRING: "s", A.TENSOR: "t", A.GRAPH: "g", A.SPARSE_TENSOR: "sparse_tensor",
    A.TYPE_PROTO: "tp",
    A.FLOATS: "floats", A.INTS: "ints", A.STRINGS: "strings", A.TENSORS: "tensors", A.GRAPHS: "graphs",
    A.SPARSE_TENSORS: "sparse_tensors", A.TYPE_PROTOS: "type_protos",
}  # fmt: skip
_LISTS = {A.FLOATS, A.INTS, A.STRINGS, A.TENSORS, A.GRAPHS, A.SPARSE_TENSORS, A.TYPE_PROTOS}
_PLAIN = {A.INT, A.INTS, A.FLOAT, A.FLOATS}
_MAY_BE_UNSET = {A.INT, A.FLOAT, A.STRING, *_LISTS}
"""Types of which a writer may leave out the value that is protobuf's default: 0, the empty text, no items."""


def read_attribute(
    proto: AttributeProto,
    node: Node,
    read_graph: Callable[[GraphProto], Graph],
    read_values: Callable[[TensorProto], Values],
) -> None:
    """Put one attribute into `node.attrs`, as graphsurgeon would, and what that loses into `node.attr_shells`.

    Raises:
        BadModel: It is given twice, has no value, or one that is not of its type.
    """
    code: Any = proto.type
    name = text(proto.name)
    if name in node.attrs:
        raise BadModel(f"attribute '{name}' of {node.label} is given twice")
    if proto.ref_attr_name:
        node.attrs[name] = Node.AttributeRef(text(proto.ref_attr_name), convert_from_onnx_attr_type(code))
        node.keep_shell(name, proto)
        return
    if code == A.UNDEFINED:  # files older than IR version 2 give no type
        code = next((known for known in _FIELDS if _is_set(proto, known)), code)
    has_value = _is_set(proto, code)
    if not has_value and code not in _MAY_BE_UNSET:
        raise BadModel(f"attribute '{name}' of {node.label} has no value of its type")
    more = len(proto.ListFields()) > proto.HasField("name") + proto.HasField("type") + has_value
    if more and any(_is_set(proto, other) for other in _FIELDS if other != code):
        raise BadModel(f"attribute '{name}' of {node.label} has a value that is not of its type")
    value = getattr(proto, _FIELDS[code])
    if code not in _PLAIN:
        read = _reader(read_graph, read_values)
        value = [read(item) for item in value] if code in _LISTS else read(value)
    node.attrs[name] = list(value) if code in _LISTS else value
    if more or not has_value or code != proto.type:
        node.keep_shell(name, _shell(proto, has_value))


def _is_set(proto: AttributeProto, code: int) -> bool:
    if code in _LISTS:
        return len(getattr(proto, _FIELDS[code])) > 0
    return code in _FIELDS and proto.HasField(_FIELDS[code])


def _shell(proto: AttributeProto, has_value: bool) -> AttributeProto:
    shell = A(name=proto.name) if has_value else A()
    if proto.HasField("type"):
        shell.type = proto.type
    copy_presence(proto, shell, ("doc_string", "ref_attr_name"))
    return shell


def _reader(read_graph: Callable[[GraphProto], Graph], read_values: Callable[[TensorProto], Values]) -> Any:
    def read(value: Any) -> Any:
        if isinstance(value, bytes):
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value
        if isinstance(value, GraphProto):
            return read_graph(value)
        if isinstance(value, TensorProto):
            constant = Constant(text(value.name), read_values(value))
            read_props(value, constant)
            return constant
        if isinstance(value, SparseTensorProto):
            return Constant(text(value.values.name), SparseValues(value))
        return value

    return read


class AttributeWriter:
    """Writes Python values as AttributeProtos; subgraphs and tensors by the functions given."""

    def __init__(
        self, write_graph: Callable[[Graph, GraphProto], None], place: Callable[[Constant, TensorProto], None]
    ) -> None:
        self.write_graph = write_graph
        self.place = place

    def write(self, name: str, value: Any, out: AttributeProto, shell: AttributeProto | None, owner: str) -> None:
        """Write one attribute of the node that `owner` names.

        Raises:
            BadModel: The value is of no type that ONNX knows.
        """
        if isinstance(value, Node.AttributeRef):
            if shell is not None and shell.ref_attr_name:
                out.CopyFrom(shell)
            else:
                out.type = convert_to_onnx_attr_type(value.type)
            out.name, out.ref_attr_name = name, value.name
            return
        value = normalized(value)
        code: Any = code_of(value)
        if code is None and value == [] and shell is not None:
            code = shell.type
        if not code:
            raise BadModel(f"attribute '{name}' of {owner}: ONNX has no type for {value!r}")
        out.name, out.type = name, code
        self._fill(out, code, value)
        if shell is not None:
            _restore(shell, out)

    def _fill(self, out: AttributeProto, code: Any, value: Any) -> None:
        if code in (A.INT, A.FLOAT):
            setattr(out, _FIELDS[code], value)
        elif code in (A.INTS, A.FLOATS):
            getattr(out, _FIELDS[code]).extend(value)
        elif code == A.STRING:
            out.s = _encoded(value)
        elif code == A.STRINGS:
            out.strings.extend(_encoded(item) for item in value)
        elif code == A.GRAPH:
            self.write_graph(value, out.g)
        elif code == A.TENSOR:
            self.place(value, out.t)
        elif code in (A.SPARSE_TENSOR, A.TYPE_PROTO):
            getattr(out, _FIELDS[code]).CopyFrom(_sparse(value))
        else:
            for item in value:
                place = getattr(out, _FIELDS[code]).add()
                if code == A.GRAPHS:
                    self.write_graph(item, place)
                elif code == A.TENSORS:
                    self.place(item, place)
                else:
                    place.CopyFrom(_sparse(item))


def _restore(shell: AttributeProto, out: AttributeProto) -> None:
    """Bring back what the file said beyond the value, and leave out what it did not say."""
    copy_presence(shell, out, ("doc_string",) if shell.ref_attr_name else ("doc_string", "ref_attr_name"))
    if not shell.HasField("name") and out.type == shell.type and not getattr(out, _FIELDS[out.type]):
        out.ClearField(_FIELDS[out.type])
    if not shell.HasField("type"):
        out.ClearField("type")
    elif shell.type == A.UNDEFINED:
        out.type = A.UNDEFINED


def _sparse(value: Any) -> Any:
    return value._values.tensor if isinstance(value, Constant) and isinstance(value._values, SparseValues) else value


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def normalized(value: Any) -> Any:
    """Numpy arrays, tuples, dtypes and TensorProtos, which passes write, as what a file would give."""
    if isinstance(value, (type, np.dtype)) and not isinstance(value, A):
        return dtypes.to_onnx(value)
    if isinstance(value, np.ndarray):
        return Constant("", value)
    if isinstance(value, TensorProto):
        return Constant(value.name, numpy_helper.to_array(value))
    if isinstance(value, SparseTensorProto):
        return Constant(value.values.name, SparseValues(value))
    if isinstance(value, (list, tuple, range)):
        return [item.item() if isinstance(item, np.generic) else item for item in value]
    return value.item() if isinstance(value, np.generic) else value


_SCALARS: dict[type, int] = {
    bool: A.INT, int: A.INT, float: A.FLOAT, str: A.STRING, bytes: A.STRING, TypeProto: A.TYPE_PROTO,
}  # fmt: skip


def code_of(value: Any) -> int | None:
    """The `AttributeProto.AttributeType` of a normalized value; None where ONNX has none, as for an empty list."""
    if isinstance(value, list):
        codes = {code_of(item) for item in value}
        if codes == {A.INT, A.FLOAT}:
            return int(A.FLOATS)
        only = codes.pop() if len(codes) == 1 else None
        # every list code follows its scalar's: FLOAT 1 and FLOATS 6, ..., SPARSE_TENSOR 11 and 12, TYPE_PROTO 13 and 14
        return None if only is None or only in _LISTS else only + (5 if only <= A.GRAPH else 1)
    if isinstance(value, Constant):
        return int(A.SPARSE_TENSOR if isinstance(value._values, SparseValues) else A.TENSOR)
    if isinstance(value, Graph):
        return int(A.GRAPH)
    for kind in type(value).__mro__:
        if kind in _SCALARS:
            return int(_SCALARS[kind])
    return None
