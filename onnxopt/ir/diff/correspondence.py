"""Which node, value and weight of one graph is which of another: by name, by output, by what it does to what."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from onnxopt.ir.attributes import normalized
from onnxopt.ir.digest import digest
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.tensor import Constant, Tensor

Key = Callable[[Node], Hashable]


class Correspondence:
    """Pairs of nodes and tensors of two models, scope after scope, the outer ones first.

    A pair never has two partners. Every step is linear in the nodes that the steps before it left.
    """

    def __init__(self) -> None:
        self.nodes: dict[Node, Node] = {}
        self.tensors: dict[Tensor, Tensor] = {}
        self._taken: set[Node | Tensor] = set()

    def same(self, a: Tensor, b: Tensor) -> bool:
        """Whether a use of `a` and a use of `b` are of one value, as far as names or partners tell."""
        return a.name == b.name or self.tensors.get(a) is b

    def add_scope(self, a: Graph, b: Graph, weights_a: Iterable[Constant], weights_b: Iterable[Constant]) -> None:
        """Pair what two scopes have in common."""
        self._pair_inputs(a, b)
        weights = list(weights_a), list(weights_b)
        self._pair_by(*weights, lambda tensor: tensor.name)
        self._pair_nodes(a.nodes, b.nodes, lambda node: node.name and (node.name, *operator(node)))
        self._pair_nodes(a.nodes, b.nodes, lambda node: _first_output(node) and (_first_output(node), *operator(node)))
        self._pair_equal_weights(*weights)
        self._pair_by_inputs(a, b)
        self._pair_by_readers(a, b)
        self._pair_by_inputs(a, b)
        self._pair_nodes(a.nodes, b.nodes, lambda node: node.name)
        self._pair_nodes(a.nodes, b.nodes, _first_output)
        self._pair_replaced_weights(a)

    def _pair(self, a: Node, b: Node) -> None:
        self.nodes[a] = b
        self._taken.add(b)
        for one, other in zip(a.outputs, b.outputs, strict=False):
            if one.name and other.name:
                self._pair_tensors(one, other)

    def _pair_tensors(self, a: Tensor, b: Tensor) -> None:
        if a not in self.tensors and b not in self._taken:
            self.tensors[a] = b
            self._taken.add(b)

    def _pair_inputs(self, a: Graph, b: Graph) -> None:
        self._pair_by(a.inputs, b.inputs, lambda tensor: tensor.name)
        for one, other in zip(a.inputs, b.inputs, strict=False):
            self._pair_tensors(one, other)

    def _pair_by(self, a: Iterable[Tensor], b: Iterable[Tensor], key: Callable[[Any], Hashable]) -> None:
        free: defaultdict[Hashable, deque[Tensor]] = defaultdict(deque)
        for tensor in b:
            if tensor not in self._taken:
                free[key(tensor)].append(tensor)
        for tensor in a:
            if tensor not in self.tensors and (queue := free.get(key(tensor))):
                self._pair_tensors(tensor, queue.popleft())

    def _pair_nodes(self, a: Iterable[Node], b: Iterable[Node], key: Key) -> None:
        """Pair nodes whose key occurs once among the free nodes of each graph; an empty key is none."""
        mine, theirs = ([node for node in a if node not in self.nodes], [n for n in b if n not in self._taken])
        if not mine or not theirs:
            return
        ones, others = _unique(mine, key), _unique(theirs, key)
        for found, node in ones.items():
            if node is not None and (other := others.get(found)) is not None:
                self._pair(node, other)

    def _pair_equal_weights(self, a: list[Constant], b: list[Constant]) -> None:
        """Weights that have another name and the same content. Content is read only where types and shapes agree."""
        mine = [weight for weight in a if weight not in self.tensors]
        theirs = [weight for weight in b if weight not in self._taken]
        shapes = {_shape(weight) for weight in mine} & {_shape(weight) for weight in theirs}
        self._pair_by(
            [weight for weight in mine if _shape(weight) in shapes],
            [weight for weight in theirs if _shape(weight) in shapes],
            digest,
        )

    def _pair_by_inputs(self, a: Graph, b: Graph) -> None:
        """Nodes that do the same to the same values: follows a renamed graph from its inputs down."""
        free: defaultdict[Hashable, deque[Node]] = defaultdict(deque)
        for node in b.nodes:
            if node not in self._taken and node.inputs:
                free[(action(node), tuple(id(tensor) if tensor.name else 0 for tensor in node.inputs))].append(node)
        if not free:
            return
        for node in a.nodes:
            if node in self.nodes or not node.inputs:
                continue
            partners = [self.tensors.get(tensor) if tensor.name else tensor for tensor in node.inputs]
            if None not in partners:
                reads = tuple(id(tensor) if tensor is not None and tensor.name else 0 for tensor in partners)
                queue = free.get((action(node), reads))
                if queue:
                    self._pair(node, queue.popleft())

    def _pair_by_readers(self, a: Graph, b: Graph) -> None:
        """Producers of what one pair of nodes reads, or of one graph output: from the outputs up."""
        own = set(b.nodes)
        names = {tensor.name: tensor for tensor in b.outputs}
        for index, tensor in enumerate(a.outputs):
            other = names.get(tensor.name) or (b.outputs[index] if index < len(b.outputs) else None)
            self._pair_producers(tensor, other, own)
        for node in reversed(a.nodes):
            partner = self.nodes.get(node)
            for tensor, other in zip(node.inputs, partner.inputs, strict=False) if partner else ():
                self._pair_producers(tensor, other, own)

    def _pair_producers(self, a: Tensor, b: Tensor | None, own: set[Node]) -> None:
        if b is None or not a.inputs or not b.inputs:
            return
        one, other = a.inputs[0], b.inputs[0]
        if one not in self.nodes and other not in self._taken and other in own and operator(one) == operator(other):
            self._pair(one, other)

    def _pair_replaced_weights(self, a: Graph) -> None:
        """Weights of one shape in one place of one pair of nodes: one that a pass wrote anew, under another name."""
        for node in a.nodes:
            partner = self.nodes.get(node)
            for one, other in zip(node.inputs, partner.inputs, strict=False) if partner else ():
                if isinstance(one, Constant) and isinstance(other, Constant) and one.shape == other.shape:
                    self._pair_tensors(one, other)


def operator(node: Node) -> tuple[str, str, str]:
    """What a node calls."""
    return ("" if node.domain in DEFAULT_DOMAINS else str(node.domain), node.op, node.overload)


def action(node: Node) -> Hashable:
    """Operator and attributes; of subgraphs only that there are some."""
    return operator(node), tuple(sorted((name, _hashable(normalized(value))) for name, value in node.attrs.items()))


def _hashable(value: Any) -> str:
    if isinstance(value, Constant):
        return digest(value)
    if isinstance(value, Graph):
        return "graph"
    if isinstance(value, list):
        return str([_hashable(item) for item in value])
    return f"@{value.name}" if isinstance(value, Node.AttributeRef) else repr(value)


def _unique(nodes: Iterable[Node], key: Key) -> dict[Hashable, Node | None]:
    found: dict[Hashable, Node | None] = {}
    for node in nodes:
        value = key(node)
        if value:
            found[value] = None if value in found else node
    return found


def _first_output(node: Node) -> str:
    return next((str(tensor.name) for tensor in node.outputs if tensor.name), "")


def _shape(weight: Constant) -> Hashable:
    return weight.dtype, weight.shape
