"""Attributes: AttributeProto <-> Python values, without losing what a Python value cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, TensorProto, TypeProto, numpy_helper
from onnx_graphsurgeon.util.misc import convert_from_onnx_attr_type, convert_to_onnx_attr_type

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.declared import read_props
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant
from onnxopt.ir.values import SparseValues, Values

A = AttributeProto
_FIELDS = {
    A.FLOAT: "f", A.INT: "i", A.STRING: "s", A.TENSOR: "t", A.GRAPH: "g", A.SPARSE_TENSOR: "sparse_tensor",
    A.TYPE_PROTO: "tp",
    A.FLOATS: "floats", A.INTS: "ints", A.STRINGS: "strings", A.TENSORS: "tensors", A.GRAPHS: "graphs",
    A.SPARSE_TENSORS: "sparse_tensors", A.TYPE_PROTOS: "type_protos",
}  # fmt: skip
_LISTS = {A.FLOATS, A.INTS, A.STRINGS, A.TENSORS, A.GRAPHS, A.SPARSE_TENSORS, A.TYPE_PROTOS}


def read_attribute(
    proto: AttributeProto,
    node: Node,
    read_graph: Callable[[GraphProto], Graph],
    read_values: Callable[[TensorProto], Values],
) -> None:
    """Put one attribute into `node.attrs`, as graphsurgeon would, and what that loses into `node.attr_shells`."""
    code, name = proto.type, proto.name
    if proto.ref_attr_name:
        node.attrs[name] = Node.AttributeRef(proto.ref_attr_name, convert_from_onnx_attr_type(code))
        return _keep_shell(proto, node)
    if code == A.INT:  # the two commonest kinds, first and without a detour
        node.attrs[name] = proto.i
    elif code == A.INTS:
        node.attrs[name] = list(proto.ints)
    else:
        if code == A.UNDEFINED:  # files older than IR version 2 give no type
            code = next((known for known, field in _FIELDS.items() if _is_set(proto, known, field)), code)
        if code not in _FIELDS:
            raise BadModel(f"attribute '{name}' of node '{node.name}' ({node.op}) has no type and no value")
        value = getattr(proto, _FIELDS[code])
        read = _reader(read_graph, read_values)
        node.attrs[name] = [read(item) for item in value] if code in _LISTS else read(value)
    if proto.HasField("doc_string") or node.attrs[name] == [] or code != proto.type:
        _keep_shell(proto, node)
    return None


def _is_set(proto: AttributeProto, code: int, field: str) -> bool:
    return len(getattr(proto, field)) > 0 if code in _LISTS else proto.HasField(field)


def _keep_shell(proto: AttributeProto, node: Node) -> None:
    if node.attr_shells is None:
        node.attr_shells = {}
    shell = A(name=proto.name)
    for field in ("type", "doc_string", "ref_attr_name"):
        if proto.HasField(field):
            setattr(shell, field, getattr(proto, field))
    node.attr_shells[proto.name] = shell


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
            constant = Constant(value.name, read_values(value))
            read_props(value, constant)
            return constant
        if type(value).__name__ == "SparseTensorProto":
            return Constant(value.values.name, SparseValues(value))
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
        out.name = name
        if isinstance(value, Node.AttributeRef):
            out.ref_attr_name = value.name
            out.type = shell.type if shell is not None else convert_to_onnx_attr_type(value.type)
        else:
            value = _normalized(value)
            code: Any = _code_of(value)
            if code is None:
                code = shell.type if shell is not None and value == [] else A.UNDEFINED
                if code == A.UNDEFINED and (shell is None or value != []):
                    raise BadModel(f"attribute '{name}' of {owner}: ONNX has no type for {value!r}")
            out.type = code
            self._fill(out, code, value)
        if shell is not None:
            if not shell.HasField("type"):
                out.ClearField("type")
            if shell.HasField("doc_string"):
                out.doc_string = shell.doc_string

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


def _sparse(value: Any) -> Any:
    return value._values.tensor if isinstance(value, Constant) and isinstance(value._values, SparseValues) else value


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _normalized(value: Any) -> Any:
    """Numpy arrays, tuples, dtypes and TensorProtos, which passes write, as what a file would give."""
    if isinstance(value, (type, np.dtype)) and not isinstance(value, A):
        return dtypes.to_onnx(value)
    if isinstance(value, np.ndarray):
        return Constant("", value)
    if isinstance(value, TensorProto):
        return Constant(value.name, numpy_helper.to_array(value))
    if isinstance(value, (list, tuple)):
        return [item.item() if isinstance(item, np.generic) else item for item in value]
    return value.item() if isinstance(value, np.generic) else value


_SCALARS: dict[type, int] = {
    bool: A.INT, int: A.INT, float: A.FLOAT, str: A.STRING, bytes: A.STRING, TypeProto: A.TYPE_PROTO,
}  # fmt: skip


def _code_of(value: Any) -> int | None:
    if isinstance(value, list):
        codes = {_code_of(item) for item in value}
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
