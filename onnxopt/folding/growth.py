"""Which results may become constants, when the file is not to grow by it."""

from __future__ import annotations

from collections.abc import Set

from onnxopt.folding.facts import Facts
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor

_ROUNDS = 8


class Growth:
    """Weighs what results take against the constants that die with the nodes computed.

    A constant whose every reader is computed dies, and its bytes are credited to these readers in proportion to what
    they give; the credit of a node goes on, in the same way, to those that read it. So a transposed weight costs
    nothing, three slices of a weight nothing together, an expanded scalar everything.
    """

    def __init__(self, nodes: list[Node], facts: Facts, outputs: Set[Tensor], max_growth: int) -> None:
        """Take nodes in topological order; `outputs` are those of every graph, which stay whoever reads them."""
        self.nodes, self.facts, self.outputs, self.max_growth = nodes, facts, outputs, max_growth
        self.gone = set(nodes)
        """The nodes that can go."""
        self.refused: dict[Node, str] = {}

    def settle(self) -> None:
        """Find the nodes that can go, from the last to the first: one that stays is a reader of those before it."""
        for round_ in range(_ROUNDS):
            credit = self._credit() if round_ < _ROUNDS - 1 else dict.fromkeys(self.nodes, 0.0)
            before = len(self.gone)
            for node in reversed(self.nodes):
                if node in self.gone:
                    self._weigh(node, credit[node])
            if len(self.gone) == before:
                return

    def _weigh(self, node: Node, credit: float) -> None:
        nbytes = sum(self.facts.nbytes(tensor) for tensor in frontier(node, self.gone, self.outputs))
        if nbytes - credit > self.max_growth + 0.5:  # a credit is a sum of fractions
            self.gone.remove(node)
            self.refused[node] = (
                f"the result takes {nbytes} bytes, the constants that would go {int(credit)}; "
                f"max-growth is {self.max_growth}"
            )

    def _credit(self) -> dict[Node, float]:
        """Bytes that die with each node."""
        credit = dict.fromkeys(self.nodes, 0.0)
        shares: dict[Tensor, float] = {}
        weight = {node: float(sum(self.facts.nbytes(t) for t in node.outputs if t.name)) for node in self.nodes}
        for node in self.nodes:
            if node not in self.gone:
                continue
            for tensor in dict.fromkeys(node.inputs):
                if tensor not in shares:
                    shares[tensor] = self._share(tensor, credit, weight)
                credit[node] += shares[tensor] * weight[node]
        return credit

    def _share(self, tensor: Tensor, credit: dict[Node, float], weight: dict[Node, float]) -> float:
        """What each byte given by a reader of `tensor` is credited with."""
        readers = set(tensor.outputs)
        if tensor in self.outputs or not readers <= self.gone:
            return 0.0
        leaf = self.facts.leaf(tensor)
        if leaf is not None:
            amount = float(leaf.nbytes)
        elif tensor.producer in credit and weight[tensor.producer]:
            amount = credit[tensor.producer] * self.facts.nbytes(tensor) / weight[tensor.producer]
        else:
            return 0.0
        total = sum(weight[reader] for reader in readers)
        return amount / total if total else 0.0


def frontier(node: Node, gone: Set[Node], outputs: Set[Tensor]) -> list[Tensor]:
    """The outputs of `node` that the model still reads or gives out when the nodes in `gone` are gone."""
    return [
        tensor
        for tensor in node.outputs
        if tensor.name and (tensor in outputs or any(reader not in gone for reader in tensor.outputs))
    ]
