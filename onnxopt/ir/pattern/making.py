"""The nodes that take the place of a match."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable

_FREE_SINCE = 4
"""The IR version since which initializers need not be inputs: before, a subgraph without inputs can have none."""


class Maker:
    """`op.Mul(x, y, axis=1)` makes a node.

    Inputs are tensors; nodes, for their first output; arrays, which become constants; or None for one left out.
    """

    def __init__(self, edit: Edit, root: Node, scope: Graph) -> None:
        self.nodes: list[Node] = []
        """What was made, in order."""
        self._edit = edit
        self._no_initializers = scope is not edit.main and (edit.main.ir_version or _FREE_SINCE) < _FREE_SINCE
        self._output: str = root.outputs[0].name
        self._name = root.name or self._output

    def __getattr__(self, name: str) -> Callable[..., Node]:
        if name.startswith("_"):
            raise AttributeError(name)

        return partial(self.make, name)

    def make(self, op: str, *inputs: Tensor | Node | np.ndarray | None, domain: str = "", **attributes: Any) -> Node:
        """The same, where the operator is not known when the rule is written."""
        node = Node(op, "", attributes, [self._tensor(given) for given in inputs], [], domain or None)
        self.nodes.append(node)
        return node

    def _tensor(self, given: Tensor | Node | np.ndarray | None) -> Tensor:
        if given is None:
            return Variable.empty()
        if isinstance(given, np.ndarray) and self._no_initializers:
            return self._tensor(self.make("Constant", value=Constant("", given)))
        if isinstance(given, np.ndarray):
            return Constant(self._edit.fresh(f"{self._name}_constant"), given)
        if isinstance(given, Node):
            if not given.outputs:
                given.outputs.append(Variable(self._edit.fresh(f"{self._output}_{given.op}")))
            output: Tensor = given.outputs[0]
            return output
        return given

    def name_nodes(self, last: Node) -> None:
        """Give names to all but the last, which takes that of the root."""
        for node in self.nodes:
            if node is not last:
                node.name = self._edit.fresh(f"{self._name}_{node.op}")
