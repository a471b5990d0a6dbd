"""Let a graph become what another tool made of it."""

from __future__ import annotations

from onnx import ModelProto

from onnxopt.errors import BadModel
from onnxopt.ir.digest import digest
from onnxopt.ir.graph import Graph, every_graph, every_node
from onnxopt.ir.node import Node
from onnxopt.ir.sort import producers, sort_scope
from onnxopt.ir.tensor import Constant, Tensor, Variable

_UNLISTED_FROM = 4
"""The IR version since which an initializer need not be an input."""


def replace_content(graph: Graph, other: Graph) -> None:
    """Let `graph` be the main graph `other`, which is used up; functions included."""
    for field in (
        "nodes", "inputs", "outputs", "constants", "unused", "listed", "output_infos", "stray_infos", "opset",
        "import_domains", "ir_version", "name", "doc_string", "metadata_props", "model", "shell",
        "quantization_annotation", "functions",
    ):  # fmt: skip
        setattr(graph, field, getattr(other, field))
    for scope in every_graph(graph):
        scope._functions = graph._functions


def inherit(other: Graph, graph: Graph) -> None:
    """Give back to `other`, which a tool made of `graph`, what such tools lose.

    That is: the model's metadata and doc strings, defaults of inputs, how inputs and outputs are declared, quantization
    annotations with their scales, names and metadata of nodes that are still there. Names that the tool gave to unnamed
    nodes go. Weights of unchanged value stay where they lie, in the file or in memory.

    Raises:
        BadModel: `other` has other inputs or outputs, by name, order or element type, or an older opset; or the model
            has training information, whose graphs may name any weight.
    """
    _require_same_interface(graph, other)
    for field in ("name", "doc_string", "metadata_props", "shell"):
        setattr(other, field, getattr(graph, field))
    other.model = ModelProto.FromString(graph.model.SerializeToString())
    _keep_version(graph, other)
    _keep_declarations(graph, other)
    weights = {constant.name: constant for constant in graph.constants}
    for constant in other.constants:
        if constant.name in weights:
            _keep_place(constant, weights[constant.name])
    makers = {output.name: node for node in every_node(graph) for output in node.outputs if output.name}
    for node in every_node(other):
        _keep_name(node, next((makers[output.name] for output in node.outputs if output.name in makers), None))
    _keep_order(graph, other)
    _keep_annotations(graph, other)


def _require_same_interface(graph: Graph, other: Graph) -> None:
    if graph.model.training_info:
        raise BadModel("the model has training information, whose graphs may name any weight")
    if other.opset < graph.opset:
        raise BadModel(f"the opset went down, from {graph.opset} to {other.opset}")
    for kind, before, after in (("inputs", graph.inputs, other.inputs), ("outputs", graph.outputs, other.outputs)):
        if [tensor.name for tensor in before] != [tensor.name for tensor in after]:
            gone, new = sorted(_names(before) - _names(after)), sorted(_names(after) - _names(before))
            what = f"without {gone}, with {new}" if gone or new else "in another order"
            raise BadModel(f"the model has other {kind} now: {what}")
        for old, tensor in zip(before, after, strict=True):
            if old.dtype is not None and tensor.dtype is not None and old.dtype != tensor.dtype:
                raise BadModel(f"'{old.name}' is {tensor.dtype} now and was {old.dtype}")


def _names(tensors: list[Tensor]) -> set[str]:
    return {tensor.name for tensor in tensors}


def _keep_version(graph: Graph, other: Graph) -> None:
    """Keep the IR version where nothing asks for a newer one than 4, which only frees initializers from the inputs."""
    if graph.ir_version is not None and graph.ir_version < (other.ir_version or 0) <= _UNLISTED_FROM:
        other.ir_version = graph.ir_version
        other.listed = graph.listed | {c.name: graph.listed.get(c.name) for c in other.constants}
    else:
        other.ir_version = max(graph.ir_version or 0, other.ir_version or 0) or None


def _keep_declarations(graph: Graph, other: Graph) -> None:
    pairs = list(zip((*graph.inputs, *graph.outputs), (*other.inputs, *other.outputs), strict=True))
    for old, tensor in pairs:
        if isinstance(old, Variable) and isinstance(tensor, Variable):
            for field in ("dtype", "shape", "type", "info", "default", "doc_string"):
                setattr(tensor, field, getattr(old, field))
            tensor.metadata_props.update(old.metadata_props)
    infos = {tensor: graph.output_infos[old] for old, tensor in pairs if old in graph.output_infos}
    outputs = set(other.outputs)
    other.output_infos = {**{tensor: i for tensor, i in other.output_infos.items() if tensor in outputs}, **infos}


def _keep_place(constant: Constant, old: Constant) -> None:
    constant.metadata_props.update(old.metadata_props)
    constant.doc_string = old.doc_string
    if (constant.dtype, constant.shape) == (old.dtype, old.shape) and digest(constant) == digest(old):
        constant._values, constant._export_dtype, constant.info = old._values, old._export_dtype, old.info


def _keep_name(node: Node, old: Node | None) -> None:
    if old is not None and (node.op, node.domain or "") == (old.op, old.domain or ""):
        node.name, node.domain, node.shell = old.name, old.domain, old.shell
        node.metadata_props.update(old.metadata_props)


def _keep_order(graph: Graph, other: Graph) -> None:
    """Let nodes stand in the order that their outputs had, new ones after what they read."""
    place = {output.name: index for index, node in enumerate(graph.nodes) for output in node.outputs if output.name}
    keys: dict[Node, int] = {}
    for node in other.nodes:
        known = [place[output.name] for output in node.outputs if output.name in place]
        keys[node] = known[0] if known else max((keys.get(needed, -1) for needed in producers(node)), default=-1)
    other.nodes.sort(key=lambda node: keys[node])
    sort_scope(other)


def _keep_annotations(graph: Graph, other: Graph) -> None:
    tensors = {tensor.name for node in other.nodes for tensor in (*node.inputs, *node.outputs)}
    present = tensors | _names(other.inputs) | _names(other.outputs)
    other.quantization_annotation = [note for note in graph.quantization_annotation if note.tensor_name in present]
    needed = {entry.value for note in other.quantization_annotation for entry in note.quant_parameter_tensor_names}
    needed -= {constant.name for constant in other.constants}
    for constant in graph.constants:
        if constant.name in needed:
            twin = constant.copy()
            other.constants.append(twin)
            other.unused.add(twin)
