"""Edits that cost the uses they touch, not the size of the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable

_SMALL = 64
"""Up to so many readers, one is taken off a tensor's list at once; beyond, when the session ends: a tensor that
thousands of nodes read would make thousands of removals quadratic."""


@contextmanager
def edit(graph: Graph) -> Iterator[Edit]:
    """Edit a model: all scopes of the main graph `graph`.

    Node lists change when the session ends, so `graph.nodes` may be iterated meanwhile.
    """
    session = Edit(graph)
    try:
        yield session
    finally:  # what was done stands, also where the pass fails: half an edit would be no graph at all
        session.finish()


class Edit:
    """One session of edits; made by `edit`."""

    def __init__(self, main: Graph) -> None:
        self.main = main
        self._output_of: dict[Tensor, list[Graph]] = {}
        for scope in every_graph(main):
            for tensor in scope.outputs:
                self._output_of.setdefault(tensor, []).append(scope)
        self._removed: set[Node] = set()
        self._before: dict[Node, list[Node]] = {}
        self._after: dict[Node, list[Node]] = {}
        self._unread: dict[Tensor, Counter[Node]] = {}
        self._unread_uses: Counter[Tensor] = Counter()
        self._scope_of: dict[Node, Graph] | None = None
        self._names: set[str] | None = None
        self._numbers: Counter[str] = Counter()
        self.changed = False
        """Whether anything was edited."""

    def is_output(self, tensor: Tensor) -> bool:
        """Whether a tensor is an output of any graph or function."""
        return tensor in self._output_of

    def uses(self, tensor: Tensor) -> int:
        """How many node inputs read a tensor."""
        return len(tensor.outputs) - self._unread_uses[tensor]

    def is_used(self, tensor: Tensor) -> bool:
        """Whether a node reads a tensor or a graph gives it out."""
        return tensor in self._output_of or self.uses(tensor) > 0

    def sole_reader(self, tensor: Tensor) -> Node | None:
        """The one node that reads a tensor, once, when nothing else does and no graph gives it out."""
        if tensor in self._output_of or self.uses(tensor) != 1:
            return None
        reader: Node = next(
            node for node in tensor.outputs if tensor in node.inputs
        )  # others are about to be taken off
        return reader

    def was_removed(self, node: Node) -> bool:
        """Whether this session removed a node; its place in `graph.nodes` is still there until the end."""
        return node in self._removed

    def scope_of(self, node: Node) -> Graph | None:
        """The graph whose list holds a node; None for a node inserted in this session."""
        if self._scope_of is None:
            self._scope_of = {node: scope for scope in every_graph(self.main) for node in scope.nodes}
        return self._scope_of.get(node)

    def replace_all_uses(self, old: Tensor, new: Tensor) -> bool:
        """Let every reader of `old` read `new`; where a graph gives `old` out, `new` takes its place and its name.

        Returns False, with nothing done, where that cannot be; `obstacle` says why.
        """
        if old is new or self.obstacle(old, new):
            return False
        self.changed = True
        if old in self._output_of and isinstance(new, Variable):
            self._take_over_output(old, new)
        elif isinstance(old, Variable) and isinstance(new, Variable):  # what is known of the one holds for the other
            new.dtype = old.dtype if new.dtype is None else new.dtype
            new.shape = old.shape if new.shape is None else new.shape
        self._unread.pop(old, None)  # the inputs of the readers tell which of them read it still
        self._unread_uses.pop(old, None)
        for reader in dict.fromkeys(old.outputs):
            for index, tensor in enumerate(reader.inputs):
                if tensor is old:
                    list.__setitem__(reader.inputs, index, new)
                    list.append(new.outputs, reader)
        list.clear(old.outputs)
        return True

    def obstacle(self, old: Tensor, new: Tensor) -> str | None:
        """Why `replace_all_uses(old, new)` would do nothing; None where it would not.

        Asked first, a pass announces no rewrite that it then cannot make. A graph output has to be produced by a node
        of that very graph, and no tensor can be two outputs.
        """
        scopes = self._output_of.get(old)
        if not scopes:
            return None
        if len(scopes) > 1 or scopes[0].outputs.count(old) > 1:
            return f"'{old.name}' is given out twice"
        if isinstance(new, Constant) or new.producer is None:
            kind = "a constant" if isinstance(new, Constant) else "an input"
            return f"'{old.name}' is an output and '{new.name}' {kind}: an output needs a node that produces it"
        if new in self._output_of:
            return f"'{old.name}' and '{new.name}' are both outputs, and each keeps its name"
        home = self.scope_of(new.producer)
        if home is not None and home is not scopes[0]:
            return f"'{old.name}' is an output of '{scopes[0].name}' and '{new.name}' is produced outside it"
        return None

    def _take_over_output(self, old: Tensor, new: Variable) -> None:
        scope = self._output_of[old][0]
        if isinstance(old, Variable):  # the output is declared as the file declared it
            new.dtype, new.shape, new.type, new.info = old.dtype, old.shape, old.type, old.info
            new.doc_string = old.doc_string
            new.metadata_props.update(old.metadata_props)
        old.name, new.name = new.name, old.name
        scope.outputs[scope.outputs.index(old)] = new
        if old in scope.output_infos:
            scope.output_infos[new] = scope.output_infos.pop(old)
        self._output_of[new] = self._output_of.pop(old)

    def replace_input(self, node: Node, index: int, tensor: Tensor) -> None:
        """Let one input of a node, which may be an omitted one, be another tensor; `Variable.empty()` omits it."""
        old = node.inputs[index]
        if old is tensor:
            return
        self.changed = True
        list.__setitem__(node.inputs, index, tensor)
        list.append(tensor.outputs, node)
        self._take_off(old, node)

    def _take_off(self, tensor: Tensor, reader: Node) -> None:
        if len(tensor.outputs) <= _SMALL:
            list.remove(tensor.outputs, reader)
        else:
            self._unread.setdefault(tensor, Counter())[reader] += 1
            self._unread_uses[tensor] += 1

    def remove(self, node: Node) -> None:
        """Remove a node whose outputs nothing reads.

        Raises:
            ValueError: One of its outputs is still read or given out.
        """
        for tensor in node.outputs:
            if tensor.name and self.is_used(tensor):
                raise ValueError(f"{node.label} cannot be removed: '{tensor.name}' is still used")
        self.changed = True
        self._removed.add(node)
        for gone in with_inner_nodes([node]):
            for tensor in gone.inputs:
                self._take_off(tensor, gone)
            list.clear(gone.inputs)
        for tensor in node.outputs:
            list.remove(tensor.inputs, node)
        list.clear(node.outputs)

    def insert_before(self, anchor: Node, *nodes: Node) -> None:
        """Put new nodes just before `anchor`, in the graph that holds it; `anchor` may itself be removed."""
        self.changed = True
        self._before.setdefault(anchor, []).extend(nodes)

    def insert_after(self, anchor: Node, *nodes: Node) -> None:
        """Put new nodes just after `anchor`, in the graph that holds it; `anchor` may itself be removed."""
        self.changed = True
        self._after.setdefault(anchor, []).extend(nodes)

    def fresh(self, prefix: str) -> str:
        """A name that no tensor or node of the model has: the prefix, or the prefix and a number."""
        if self._names is None:
            self._names = set(_names(self.main))
        name = prefix
        while name in self._names or not name:
            self._numbers[prefix] += 1
            name = f"{prefix}_{self._numbers[prefix]}"
        self._names.add(name)
        return name

    def finish(self) -> None:
        """Bring the node lists and the long reader lists up to date.

        Raises:
            ValueError: Nodes were inserted next to one that no graph holds.
        """
        for tensor, late in self._unread.items():
            drop_readers(tensor, late)
        self._unread.clear()
        self._unread_uses.clear()
        anchors = self._removed | self._before.keys() | self._after.keys()
        if not anchors:
            return
        for scope in every_graph(self.main):
            if not anchors.isdisjoint(scope.nodes):
                scope.nodes[:] = self._rebuilt(scope.nodes)
        lost = self._before.keys() | self._after.keys()
        if lost and (lost := lost.difference(with_inner_nodes(self._removed))):
            raise ValueError(f"nodes were inserted next to {lost.pop().label}, which no graph of the model holds")
        self._removed.clear()
        self._scope_of = None

    def _rebuilt(self, nodes: list[Node]) -> list[Node]:
        """The nodes without those removed, with those inserted; inserted ones may be anchors themselves."""
        found: list[Node] = []
        pending = nodes[::-1]
        while pending:
            node = pending.pop()
            before = self._before.pop(node, None)
            if before:
                pending += [node, *reversed(before)]
                continue
            if node not in self._removed:
                found.append(node)
            pending += reversed(self._after.pop(node, ()))
        return found


def with_inner_nodes(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes and all those in their subgraphs."""
    for node in nodes:
        yield node
        if node.attrs:
            yield from inner_nodes(node)


def inner_nodes(node: Node) -> list[Node]:
    """The nodes in the subgraphs of a node, at every depth."""
    return [inner for subgraph in node.subgraphs(recursive=True) for inner in subgraph.nodes] if node.attrs else []


def drop_readers(tensor: Tensor, gone: Counter[Node]) -> None:
    """Take readers off a tensor's list in one sweep, each as often as `gone` says."""
    kept = []
    left = Counter(gone)
    for reader in tensor.outputs:
        if left[reader] > 0:
            left[reader] -= 1
        else:
            kept.append(reader)
    list.__setitem__(tensor.outputs, slice(None), kept)


def detach(nodes: Iterable[Node]) -> None:
    """Cut dead nodes, those in their subgraphs too, off their tensors: one sweep over each tensor touched."""
    unread: dict[Tensor, Counter[Node]] = {}
    for node in with_inner_nodes(nodes):
        for tensor in node.inputs:
            unread.setdefault(tensor, Counter())[node] += 1
        for tensor in node.outputs:
            list.clear(tensor.inputs)
        list.clear(node.inputs)
        list.clear(node.outputs)
    for tensor, gone in unread.items():
        drop_readers(tensor, gone)


def _names(main: Graph) -> Iterator[str]:
    for scope in every_graph(main):
        yield from (info.name for info in scope.stray_infos)
        yield from (tensor.name for tensor in (*scope.inputs, *scope.constants, *scope.outputs))
        for node in scope.nodes:
            yield node.name
            yield from (tensor.name for tensor in (*node.inputs, *node.outputs))
