"""Which nodes could be computed before the model runs, judged by operators and links alone."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from onnxopt.folding.facts import Facts
from onnxopt.folding.flattening import ML
from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.purity import Purity, draws_random
from onnxopt.ir.schema import Schema, find_schema
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import SparseValues

QUANTIZATION = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
OF_SHAPE = ("Shape", "Size")
_TENSOR = "tensor("


@dataclass
class Candidates:
    """The nodes that depend on constants alone, each after those that it needs."""

    nodes: list[Node] = field(default_factory=list)
    scope_of: dict[Node, Graph] = field(default_factory=dict)
    refused: dict[Node, str] = field(default_factory=dict)
    """Nodes of which all inputs are known and that are left alone all the same, with the reason."""


def constant_of(node: Node) -> Constant | None:
    """The value of a Constant node; None where it is sparse, refers to a function's attribute, or is not given."""
    value = node.attr("value")
    if isinstance(value, Constant):
        return None if isinstance(value._values, SparseValues) else value
    array = None if value is not None else known_value(node.outputs[0], limit=1 << 62)
    return None if array is None else Constant("", array)


def shape_questions(graph: Graph, skip: Set[Node]) -> list[Tensor]:
    """What a Shape or Size asks about anywhere but in functions, constants apart."""
    return [
        node.inputs[0]
        for scope in (graph, *graph.subgraphs(recursive=True))
        for node in scope.nodes
        if node.op in OF_SHAPE
        and node.is_standard
        and node not in skip
        and node.inputs
        and not isinstance(node.inputs[0], Constant)
    ]


def find(graph: Graph, facts: Facts, skip: Set[Node]) -> Candidates:
    """The candidates of a sorted model, in all scopes.

    `facts` has the types of the tensors whose shape is proven; leaves are added to it. Nodes in `skip`, and what
    depends on them, are no candidates.
    """
    search = _Search(graph, facts, skip)
    for root in (graph, *graph.functions):
        search.scope(root)
    return search.found


class _Search:
    def __init__(self, graph: Graph, facts: Facts, skip: Set[Node]) -> None:
        self.facts, self.skip = facts, skip
        self.purity = Purity(graph)
        self.outputs = {tensor for scope in every_graph(graph) for tensor in scope.outputs}
        self.computable: set[Tensor] = set()
        self.found = Candidates()

    def scope(self, scope: Graph) -> None:
        for node in scope.nodes:
            if node.is_op("Constant"):
                if node not in self.skip and (value := constant_of(node)) is not None:
                    self.facts.leaves[node.outputs[0]] = value
                continue
            if self._is_known(node) and node not in self.skip and self._is_used(node):
                reason = self._obstacle(node, scope)
                if reason is None:
                    self.found.nodes.append(node)
                    self.found.scope_of[node] = scope
                    self.computable.update(tensor for tensor in node.outputs if tensor.name)
                elif reason:
                    self.found.refused[node] = reason
            if node.attrs:
                for subgraph in node.subgraphs():
                    self.scope(subgraph)

    def _is_known(self, node: Node) -> bool:
        if node.op in OF_SHAPE and node.is_standard and node.inputs and self.facts.dims(node.inputs[0]) is not None:
            return True
        for tensor in node.inputs:
            if tensor.name and tensor not in self.computable and self.facts.leaf(tensor) is None:
                return False
        return True

    def _is_used(self, node: Node) -> bool:
        return any(tensor.name and (tensor.outputs or tensor in self.outputs) for tensor in node.outputs)

    def _obstacle(self, node: Node, scope: Graph) -> str | None:
        """Why a node of known inputs is none to compute; an empty text where nobody would expect it to be."""
        if not node.is_standard and node.domain != ML:
            return f"operators of domain '{node.domain}' are not computed"
        if self.purity.called(node) is not None:
            return "a call of a local function is not computed; the nodes of the function are"
        if draws_random(node, scope.opset):
            return "it draws random numbers, or may"
        if node.is_op(*QUANTIZATION):
            return "computing a quantization would take it out of the model"
        if any(isinstance(value, Node.AttributeRef) for value in node.attrs.values()):
            return "an attribute is a parameter of the function"
        if any(True for _ in node.subgraphs()):
            return "a control flow node is not computed; the nodes of its bodies are"
        schema = find_schema(node.op, node.domain, scope.opset_of(node.domain))
        if schema is None or schema.deprecated:
            return f"ONNX has no operator {node.op} in opset {scope.opset_of(node.domain)}"
        return None if all(_may_be_tensor(schema, index) for index in range(len(node.outputs))) else ""


def _may_be_tensor(schema: Schema, index: int) -> bool:
    """Whether an output can be a tensor; sequences, optionals and maps have no initializers."""
    formal = schema.outputs[min(index, len(schema.outputs) - 1)]
    return any(kind.startswith(_TENSOR) for kind in formal.types)


def takes_initializers(scope: Graph, main: Graph) -> bool:
    """Whether a scope may have constants that no node makes.

    The body of an If has no inputs, and so no initializers where these have to be listed as inputs. In a function there
    are none either, but the exporter sees to that: it writes Constant nodes.
    """
    return scope is main or isinstance(scope, Function) or free_initializers(main)


def free_initializers(main: Graph) -> bool:
    """Whether initializers need not be listed as inputs: not so before IR version 4 (IR specification)."""
    return (main.ir_version or 4) >= 4
