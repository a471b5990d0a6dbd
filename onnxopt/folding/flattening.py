"""Nodes of any scopes as NodeProtos of one flat graph, in which every tensor has a name of its own."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import GraphProto, NodeProto, OperatorSetIdProto, helper

from onnxopt.ir.attributes import AttributeWriter
from onnxopt.ir.exporter import inline
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor

ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Imports:
    """The opsets that a scope imports; nodes of equal ones can be computed together."""

    default: int
    ml: int | None

    @classmethod
    def of(cls, scope: Graph) -> Imports:
        """Those of a graph or function."""
        return cls(scope.opset, scope.opset_of(ML))

    def protos(self) -> list[OperatorSetIdProto]:
        """As a model declares them."""
        more = [] if self.ml is None else [helper.make_opsetid(ML, self.ml)]
        return [helper.make_opsetid("", self.default), *more]


class Flattening:
    """Gives nodes and tensors, wherever they are, names in one flat graph."""

    def __init__(self) -> None:
        self._names: dict[Tensor, str] = {}
        self._nodes: dict[Node, NodeProto] = {}
        self._writer = AttributeWriter(_refuse, inline)

    def name(self, tensor: Tensor) -> str:
        """The flat name of a tensor; empty for an omitted one."""
        return self._names.setdefault(tensor, f"t{len(self._names)}") if tensor.name else ""

    def node(self, node: Node) -> NodeProto:
        """The flat form of a node that holds no graph."""
        if node not in self._nodes:
            out = NodeProto(op_type=node.op, domain="" if node.is_standard else node.domain or "", name=node.name)
            out.input.extend(self.name(tensor) for tensor in node.inputs)
            out.output.extend(self.name(tensor) for tensor in node.outputs)
            shells = node.attr_shells or {}
            for name, value in node.attrs.items():
                self._writer.write(name, value, out.attribute.add(), shells.get(name), node.label)
            self._nodes[node] = out
        return self._nodes[node]


def _refuse(graph: Graph, out: GraphProto) -> None:
    raise ValueError(f"graph '{graph.name}': nodes that hold graphs are not flattened")
