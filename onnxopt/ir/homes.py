"""Which graph each constant is written in: the innermost one from which every reader can see it."""

from __future__ import annotations

from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.tensor import Constant


class Homes:
    """The initializers of every scope of a model.

    A constant stays where the file declares it unless a reader could not see it from there; a new one goes to the
    innermost graph that holds all its readers. One that lost its last reader is not written, unless the file itself
    had it unread (`Graph.unused`).
    """

    def __init__(self, main: Graph) -> None:
        self._written: dict[Graph, list[Constant]] = {}
        for root in [main] if isinstance(main, Function) else [main, *main.functions]:
            self._parent: dict[Graph, Graph | None] = {}
            self._home: dict[Constant, Graph] = {}
            self._walk(root, None)
            self._place()
        self._rename_twins(main)

    def initializers(self, graph: Graph) -> list[Constant]:
        """The constants that are written in `graph`, those of the file first and in its order."""
        return self._written.get(graph, [])

    def _walk(self, graph: Graph, parent: Graph | None) -> None:
        self._parent[graph] = parent
        for node in graph.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, Constant):
                    self._use(tensor, graph)
            if node.attrs:
                for subgraph in node.subgraphs():
                    self._walk(subgraph, graph)
        for tensor in graph.outputs:
            if isinstance(tensor, Constant):
                self._use(tensor, graph)

    def _use(self, constant: Constant, graph: Graph) -> None:
        home = self._home.get(constant)
        if home is not graph:
            self._home[constant] = graph if home is None else self._common(home, graph)

    def _common(self, one: Graph, other: Graph) -> Graph:
        above = set()
        at: Graph | None = one
        while at is not None:
            above.add(at)
            at = self._parent[at]
        while other not in above:
            outer = self._parent[other]
            assert outer is not None, "two scopes of one root have it in common"
            other = outer
        return other

    def _place(self) -> None:
        placed: set[Constant] = set()
        for graph in self._parent:
            for constant in graph.constants:
                if constant in self._home:
                    self._use(constant, graph)
                elif constant in graph.unused:
                    self._home[constant] = graph
                if self._home.get(constant) is graph and constant not in placed:
                    placed.add(constant)
                    self._written.setdefault(graph, []).append(constant)
        for constant, graph in self._home.items():
            if constant not in placed:
                self._written.setdefault(graph, []).append(constant)

    def _rename_twins(self, main: Graph) -> None:
        """Two constants of one name in one graph would be one initializer for the reader: rename the later."""
        for graph, constants in self._written.items():
            names: set[str] = set()
            for constant in constants:
                if constant.name in names:
                    taken = {
                        tensor.name for scope in every_graph(main) for node in scope.nodes for tensor in node.outputs
                    }
                    taken |= names | {other.name for other in constants} | {tensor.name for tensor in graph.inputs}
                    number = 1
                    while f"{constant.name}_{number}" in taken:
                        number += 1
                    constant.name = f"{constant.name}_{number}"
                names.add(constant.name)
