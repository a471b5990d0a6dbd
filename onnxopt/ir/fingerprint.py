"""One hash of everything that a model says, however its file says it."""

from __future__ import annotations

import hashlib
from typing import Any

from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    numpy_helper,
)

from onnxopt.ir.digest import digest
from onnxopt.ir.exporter import to_proto, write_header
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import DEFAULT_DOMAINS
from onnxopt.ir.tensor import Constant


def fingerprint(graph: Graph) -> str:
    """blake2b, 16 bytes in hex, of a main graph: equal for equal models, and for a model that was saved and loaded.

    Counts: nodes and their order, names, attributes, inputs, outputs, all weights in full, opsets, functions, types,
    doc strings and metadata. Does not count: where and in which field a weight lies, the order of initializers, value
    infos, attributes, opset imports, functions and metadata, empty fields, and which name the default domain has.

    Stored weights are read once a process, in chunks; weights in memory are read every time, some 1 GB/s.

    Raises:
        BadModel: An attribute has no type that ONNX knows, or a file of weights has become shorter.
    """
    model = to_proto(graph, place=_place_digest)
    _normalize_model(model)
    return hashlib.blake2b(model.SerializeToString(deterministic=True), digest_size=16).hexdigest()


def _place_digest(constant: Constant, out: TensorProto) -> None:
    write_header(constant, out)
    out.raw_data = bytes.fromhex(digest(constant))
    _clear_empty(out, "name", "doc_string")
    _sort_props(out)


def _normalize_model(model: ModelProto) -> None:
    _clear_empty(model, "producer_name", "producer_version", "domain", "doc_string")
    if not model.model_version:
        model.ClearField("model_version")
    _sort_props(model)
    _normalize_imports(model)
    _normalize_graph(model.graph)
    for function in model.functions:
        _normalize_function(function)
    model.functions.sort(key=lambda function: (function.domain, function.name, function.overload))


def _normalize_imports(holder: ModelProto | FunctionProto) -> None:
    for entry in holder.opset_import:
        entry.domain = "" if entry.domain in DEFAULT_DOMAINS else entry.domain
    holder.opset_import.sort(key=lambda entry: (entry.domain, entry.version))


def _normalize_function(function: FunctionProto) -> None:
    _clear_empty(function, "doc_string", "overload")
    _sort_props(function)
    _normalize_imports(function)
    function.attribute.sort()
    _sort_if_needed(function.attribute_proto)
    for attribute in function.attribute_proto:
        _normalize_attribute(attribute)
    _sort_infos(function.value_info)
    for node in function.node:
        _normalize_node(node)


def _normalize_graph(graph: GraphProto) -> None:
    _clear_empty(graph, "doc_string")
    _sort_props(graph)
    graph.initializer.sort(key=lambda tensor: tensor.name)
    graph.sparse_initializer.sort(key=lambda sparse: sparse.values.name)
    for sparse in graph.sparse_initializer:
        _normalize_sparse(sparse)
    graph.quantization_annotation.sort(key=lambda annotation: annotation.tensor_name)
    for infos in (graph.input, graph.output, graph.value_info):
        for info in infos:
            _clear_empty(info, "doc_string")
            if len(info.metadata_props) > 1:
                _sort_props(info)
    _sort_infos(graph.value_info)
    for node in graph.node:
        _normalize_node(node)


def _sort_infos(infos: Any) -> None:
    infos.sort(key=lambda info: (info.name, info.SerializeToString(deterministic=True)))


def _normalize_node(node: NodeProto) -> None:
    if node.domain in DEFAULT_DOMAINS:
        node.ClearField("domain")
    _clear_empty(node, "name", "overload", "doc_string")
    if len(node.metadata_props) > 1:
        _sort_props(node)
    attributes = node.attribute
    if attributes:
        _sort_if_needed(attributes)
        for attribute in attributes:
            _normalize_attribute(attribute)


def _sort_if_needed(attributes: Any) -> None:
    if len(attributes) > 1:
        attributes.sort(key=lambda attribute: attribute.name)


def _normalize_attribute(attribute: AttributeProto) -> None:
    _clear_empty(attribute, "doc_string", "ref_attr_name")
    if attribute.type == AttributeProto.GRAPH:
        _normalize_graph(attribute.g)
    elif attribute.type == AttributeProto.GRAPHS:
        for graph in attribute.graphs:
            _normalize_graph(graph)
    elif attribute.type == AttributeProto.SPARSE_TENSOR:
        _normalize_sparse(attribute.sparse_tensor)


def _normalize_sparse(sparse: SparseTensorProto) -> None:
    for part in (sparse.values, sparse.indices):
        plain = numpy_helper.from_array(numpy_helper.to_array(part), part.name)
        plain.doc_string = part.doc_string
        plain.metadata_props.extend(part.metadata_props)
        part.CopyFrom(plain)


def _clear_empty(message: Any, *fields: str) -> None:
    """Whether an empty field is written or absent says nothing."""
    for field in fields:
        if not getattr(message, field):
            message.ClearField(field)


def _sort_props(message: Any) -> None:
    message.metadata_props.sort(key=lambda entry: entry.key)
