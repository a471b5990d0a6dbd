"""A model with its local functions inlined: the only place where the values of a function body have shapes."""

from __future__ import annotations

from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, inliner

from onnxopt.errors import BadModel
from onnxopt.ir.exporter import to_proto
from onnxopt.ir.graph import Graph, every_node
from onnxopt.ir.importer import from_proto
from onnxopt.ir.node import Node
from onnxopt.ir.skeleton import SMALL
from onnxopt.ir.values import InlineValues, Values


def has_calls(graph: Graph) -> bool:
    """Whether any node calls a local function."""
    functions = {(function.domain, function.name) for function in graph.functions}
    return bool(functions) and any((node.domain or "", node.op) in functions for node in every_node(graph))


def inline_functions(graph: Graph) -> tuple[Graph, dict[Node, Node]]:
    """A copy without its large weights and with every call replaced by the body; the node each of its nodes came from.

    A node of a function body is the origin of one node for each call.

    Raises:
        BadModel: onnx's inliner refuses the model.
    """
    skeleton = to_proto(graph, max_inline=SMALL)
    origins: list[Node] = []
    _tag(graph, skeleton.graph, origins)
    for function, proto in zip(graph.functions, skeleton.functions, strict=True):
        _tag(function, proto, origins)
    try:
        model = inliner.inline_local_functions(skeleton)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadModel(f"onnx's inliner gave up on the functions of the model: {reason}") from error
    twin = from_proto(model, _values)
    # the inliner appends `__1` and the like to the names of a body
    return twin, {node: origins[int(node.name.partition("__")[0])] for node in every_node(twin) if node.name}


def _tag(scope: Graph, proto: GraphProto | FunctionProto, origins: list[Node]) -> None:
    """Name every node by its place in `origins`."""
    protos: list[NodeProto] = list(proto.node)[-len(scope.nodes) :] if scope.nodes else []  # constants come first
    for node, node_proto in zip(scope.nodes, protos, strict=True):
        node_proto.name = str(len(origins))
        origins.append(node)
        for value, attribute in zip(node.attrs.values(), node_proto.attribute, strict=True) if node.attrs else ():
            if isinstance(value, Graph):
                _tag(value, attribute.g, origins)
            elif isinstance(value, list):
                for subgraph, inner in zip(value, attribute.graphs, strict=False):
                    _tag(subgraph, inner, origins)


class _Withheld(Values):
    """The type and shape of values that the skeleton leaves out."""

    def __init__(self, tensor: TensorProto) -> None:
        self.tensor = tensor
        self._describe(tensor.dims, tensor.data_type, tensor.name)


def _values(tensor: TensorProto) -> Values:
    return _Withheld(tensor) if tensor.data_location == TensorProto.EXTERNAL else InlineValues(tensor)
