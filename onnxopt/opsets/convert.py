"""A whole model from one opset to another: all scopes, all at once or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from onnxopt.ir.edit import Edit, edit
from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.opsets.draft import ITSELF, Draft, Itself, Made, Refused, Source, schema_of
from onnxopt.opsets.facts import Facts
from onnxopt.opsets.ir_version import needed_ir_version
from onnxopt.opsets.steps import OLDEST_SOURCE, convert, is_plain

OLDEST = 13
"""The oldest opset that can be converted to."""
NEWEST = 28
"""The newest one whose changes of meaning, beyond what schemas tell, are in the tables here."""


@dataclass
class Conversion:
    """What converting a model takes; nothing of it is done yet."""

    graph: Graph
    target: int
    roots: list[Graph]
    """The main graph and the functions that are of another opset."""
    drafts: list[tuple[Graph, Draft]] = field(default_factory=list)
    """The nodes to be written anew, each with the root of its scopes: the main graph or a function."""
    refused: list[tuple[Node | None, str]] = field(default_factory=list)
    """Nodes, or None for the model, and why they cannot be converted."""

    def apply(self) -> None:
        """Convert the model."""
        constants: dict[tuple[Graph, str, bytes], Constant] = {}
        with edit(self.graph) as session:
            for root, draft in self.drafts:
                _Writer(root, draft, session, constants, self.target).write()
        is_newer = all(root.opset < self.target for root in self.roots)
        for root in self.roots:
            for scope in _scopes(root):
                scope.opset = self.target
        self._set_ir_version(is_newer)

    def _set_ir_version(self, is_newer: bool) -> None:
        was = self.graph.ir_version
        if was is not None:
            needed = needed_ir_version(self.graph)
            for scope in every_graph(self.graph):
                scope.ir_version = max(was, needed) if is_newer else min(was, needed)


def plan(graph: Graph, target: int, shapes: Callable[[], ProvenShapes]) -> Conversion:
    """Work out how to bring a model to opset `target`, from `OLDEST` to `NEWEST`.

    Args:
        graph: The main graph.
        target: The opset wanted.
        shapes: Gives the certain shapes of the model, where they are needed.
    """
    found = Conversion(graph, target, [root for root in (graph, *graph.functions) if _is_of_another(root, target)])
    if graph.model.training_info:
        found.refused.append((None, "the model has training information, whose graphs are of its opset too"))
        return found
    facts = Facts(graph, shapes)
    local = {function.name for function in graph.functions if function.domain in DEFAULT_DOMAINS}
    for root in found.roots:
        for node in (node for scope in _scopes(root) for node in scope.nodes):
            if not node.is_standard or node.op in local or is_plain(node.op, root.opset, target):
                continue
            if root.opset < OLDEST_SOURCE:
                reason = f"it is of opset {root.opset}, and changed since: models of 6 and newer ones are converted"
                found.refused.append((node, reason))
                continue
            draft = Draft(node, facts)
            try:
                convert(draft, root.opset, target)
            except Refused as refusal:
                found.refused.append((node, str(refusal)))
                continue
            if draft.is_changed:
                found.drafts.append((root, draft))
    return found


def _is_of_another(root: Graph, target: int) -> bool:
    """Whether the main graph or a function is of another opset; one without the default domain is of none."""
    if root.opset == target:
        return False
    imports = root.import_domains
    return (
        imports is None
        or any(entry.domain in DEFAULT_DOMAINS for entry in imports)
        or any(node.is_standard for scope in _scopes(root) for node in scope.nodes)
    )


def _scopes(root: Graph) -> Iterator[Graph]:
    """A main graph or a function, and the graphs in it."""
    yield root
    yield from root.subgraphs(recursive=True)


class _Writer:
    """Writes one draft into the graph."""

    def __init__(
        self,
        root: Graph,
        draft: Draft,
        session: Edit,
        constants: dict[tuple[Graph, str, bytes], Constant],
        target: int,
    ) -> None:
        self.root, self.draft, self.node, self.session, self.constants = root, draft, draft.node, session, constants
        self.target = target

    def write(self) -> None:
        draft, node, session = self.draft, self.node, self.session
        inputs = [self._realized(source, self._called(draft.op, index)) for index, source in enumerate(draft.inputs)]
        del node.inputs[len(inputs) :]
        for index, tensor in enumerate(inputs):
            if index < len(node.inputs):
                if tensor.name or node.inputs[index].name:
                    session.replace_input(node, index, tensor)
            else:
                node.inputs.append(tensor)
        del node.outputs[draft.outputs :]
        shells = node.attr_shells or {}
        for name in list(shells):
            if name not in draft.attrs or draft.attrs[name] is not node.attrs.get(name):
                del shells[name]
        node.op = draft.op
        node.attrs.clear()
        node.attrs.update(draft.attrs)
        if draft.result is not None:
            self._follow(draft.result)

    def _follow(self, result: Made) -> None:
        """Let `result` give out what the node gave out."""
        output: Tensor = self.node.outputs[0]
        inner = Variable(self.session.fresh(f"{output.name}_{self.node.op.lower()}"), output.dtype)
        inputs = [
            inner if isinstance(source, Itself) else self._realized(source, self._called(result.op, index))
            for index, source in enumerate(result.inputs)
        ]
        self.node.outputs[0] = inner
        after = Node(result.op, self._node_name(result), dict(result.attrs), inputs, [output])
        self.session.insert_after(self.node, after)

    def _realized(self, source: Source, name: str) -> Tensor:
        if source is None:
            return Variable.empty()
        if isinstance(source, Tensor):
            return source
        if isinstance(source, np.ndarray):
            key = (self.root, f"{source.dtype}{source.shape}", source.tobytes())
            if key not in self.constants:
                self.constants[key] = Constant(self.session.fresh(name), source)
            return self.constants[key]
        assert isinstance(source, Made) and source is not ITSELF
        inputs = [self._realized(each, self._called(source.op, index)) for index, each in enumerate(source.inputs)]
        output = Variable(self.session.fresh(f"{self.node.outputs[0].name}_{source.name}"))
        self.session.insert_before(
            self.node, Node(source.op, self._node_name(source), dict(source.attrs), inputs, [output])
        )
        return output

    def _node_name(self, made: Made) -> str:
        return self.session.fresh(f"{self.node.name}_{made.name}") if self.node.name else ""

    def _called(self, op: str, index: int) -> str:
        """The name of an input in the operator's definition: what a constant for it is called."""
        schema = schema_of(op, self.target)
        assert schema is not None
        return str(schema.inputs[min(index, len(schema.inputs) - 1)].name)
