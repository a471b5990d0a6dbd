"""Which graph each constant is written in: the innermost one from which every reader can see it."""

from __future__ import annotations

from collections import Counter

from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.tensor import Constant

_FREE_SINCE = 4
"""The IR version since which initializers need not be listed as inputs."""


class Homes:
    """The initializers of every scope of a model.

    A constant stays where the file declares it unless a reader could not see it from there; a new one goes to the
    innermost graph that holds all its readers. One that lost its last reader is not written, unless the file itself
    had it unread (`Graph.unused`). Before IR version 4 an initializer had to be an input of its graph, and bodies take
    no more inputs than their node gives them: there a new one goes to the main graph.
    """

    def __init__(self, main: Graph) -> None:
        self._written: dict[Graph, list[Constant]] = {}
        for root in [main] if isinstance(main, Function) else [main, *main.functions]:
            self._parent: dict[Graph, Graph | None] = {}
            self._home: dict[Constant, Graph] = {}
            self._walk(root, None)
            in_bodies = isinstance(root, Function) or (main.ir_version or _FREE_SINCE) >= _FREE_SINCE
            self._rename_clashing(self._place(None if in_bodies else root))

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

    def _place(self, only: Graph | None) -> set[Constant]:
        """Write each constant into its home, new ones into `only` where given; return those that the file does not
        declare there."""
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
        new = self._home.keys() - placed
        for constant, graph in self._home.items():
            if constant in new:
                self._written.setdefault(only or graph, []).append(constant)
        return new

    def _rename_clashing(self, new: set[Constant]) -> None:
        """Rename a constant whose name stands for something else where it is read: a twin (passes copy constants), a
        value of the same graph, or one in a subgraph that would hide it. One without a name would read as omitted."""
        written = {graph: self._written[graph] for graph in self._parent if graph in self._written}
        if not new and all(len({constant.name for constant in many}) == len(many) for many in written.values()):
            return
        taken = {""} | {tensor.name for graph in self._parent for tensor in graph.inputs}
        taken |= {
            tensor.name
            for graph in self._parent
            for node in graph.nodes
            for tensor in node.outputs
            if not isinstance(tensor, Constant)
        }
        taken |= {constant.name for many in written.values() for constant in many if constant not in new}
        given_out = {tensor for graph in self._parent for tensor in graph.outputs}
        numbers: Counter[str] = Counter()
        for many in written.values():
            names: set[str] = set()
            for constant in many:
                if constant.name in (taken if constant in new else names) and constant not in given_out:
                    prefix = constant.name or "constant"
                    while constant.name in taken:
                        numbers[prefix] += 1
                        constant.name = f"{prefix}_{numbers[prefix]}"
                names.add(constant.name)
                taken.add(constant.name)
