"""Computing many nodes in few onnxruntime sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, ModelProto

from onnxopt.folding.facts import Facts
from onnxopt.folding.flattening import Flattening, Imports
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.runtime.session import NotRunnable, Session

_NODES = 512
"""Nodes a session: onnxruntime takes time in the square of the initializers and of the outputs of a graph (1 ms each at
20,000, 0.05 ms at 1,000)."""
_BYTES = 32 << 20
"""Bytes a session, of what its nodes read and give; they are in memory several times over while it is made."""
_FAULTS = 32
"""Faulty nodes that are looked for, of a kind each; then the rest of what fails is left."""
_IR_VERSION = 10
"""The oldest that has every element type that the supported onnxruntime versions compute with."""

Progress = Callable[[list[list[Node]]], Iterable[list[Node]]]


@dataclass
class Evaluation:
    """Values of tensors that depend on constants alone, computed as the model would with optimizations off."""

    facts: Facts
    flat: Flattening
    scope_of: Mapping[Node, Graph]
    memory: int
    """Bytes that computed values may take at any one time."""
    progress: Progress = iter
    sizes: dict[Tensor, int] = field(default_factory=dict)
    """Upper bounds of what the nodes' outputs take, in bytes, known before they are computed."""
    failed: dict[Node, str] = field(default_factory=dict)
    """Nodes that onnxruntime could not compute, with its reason. What depends on them is not computed either."""
    too_large: set[Node] = field(default_factory=set)
    """Nodes that were not computed because the values at hand would have taken more than `memory`."""
    sessions: int = 0

    def __post_init__(self) -> None:
        self._kinds: dict[object, str] = {}
        self._passing: set[Tensor] = set()
        self._held = sum(value.nbytes for value in self.facts.values.values())

    def compute(self, wanted: Iterable[Tensor]) -> None:
        """Put the values of `wanted` into `facts`, as far as they can be computed.

        No more than one session a few hundred nodes. A node that fails is found by halving; the others are computed.
        """
        targets = [tensor for tensor in wanted if not self.facts.is_valued(tensor)]
        order = self._order(targets)
        self._kept = set(targets)
        self._pending = set(order)
        for batch in self.progress(list(self._batches(order))):
            self._run(batch)
            self._release(batch)

    def _order(self, targets: list[Tensor]) -> list[Node]:
        """The nodes needed, depth first: what one target needs stands together, and is soon let go again."""
        order: list[Node] = []
        seen: set[Node] = set()
        for target in targets:
            stack: list[tuple[Node, Iterator[Tensor]]] = []
            node: Node | None = target.producer
            while node is not None or stack:
                if node is not None and node not in seen:
                    seen.add(node)
                    stack.append((node, iter(node.inputs)))
                node = None
                if stack:
                    below = next((t for t in stack[-1][1] if t.name and not self.facts.is_valued(t)), None)
                    if below is None:
                        order.append(stack.pop()[0])
                    else:
                        node = below.producer
        return order

    def _batches(self, order: list[Node]) -> Iterator[list[Node]]:
        batch: list[Node] = []
        imports, nbytes = None, 0
        for node in order:
            cost = self._cost(node)
            own = Imports.of(self.scope_of[node])
            if batch and (own != imports or len(batch) >= _NODES or nbytes + cost > _BYTES):
                yield batch
                batch, nbytes = [], 0
            batch.append(node)
            imports, nbytes = own, nbytes + cost
        if batch:
            yield batch

    def _cost(self, node: Node) -> int:
        read = sum(leaf.nbytes for tensor in node.inputs if (leaf := self.facts.leaf(tensor)) is not None)
        return read + sum(self.sizes.get(tensor, 0) for tensor in node.outputs)

    def _run(self, batch: list[Node]) -> None:
        nodes = self._computable(batch)
        if not nodes:
            return
        if self._held + sum(self._cost(node) for node in nodes) > self.memory:
            self.too_large.update(nodes)
            return
        try:
            self._session(nodes)
        except NotRunnable as error:
            if len(nodes) == 1:
                self._blame(nodes[0], str(error))
            elif len(self._kinds) >= _FAULTS:
                self.failed.update(dict.fromkeys(nodes, f"not tried alone, after {_FAULTS} others: {error}"))
            else:
                half = len(nodes) // 2
                self._run(nodes[:half])
                self._run(nodes[half:])
        self._pending.difference_update(nodes)

    def _computable(self, batch: list[Node]) -> list[Node]:
        """Those of a batch whose inputs are at hand, or are made in it, and whose kind has not failed yet."""
        made: set[Tensor] = set()
        nodes = []
        for node in batch:
            reason = self._kinds.get(self._kind(node)) if self._kinds else None
            if reason is not None:
                self.failed[node] = reason
            elif all(t in made or not t.name or self.facts.is_valued(t) for t in node.inputs):
                nodes.append(node)
                made.update(node.outputs)
        self._pending.difference_update(set(batch).difference(nodes))
        return nodes

    def _kind(self, node: Node) -> object:
        """What decides whether onnxruntime has a kernel for a node."""
        types = [self.facts.type(tensor) for tensor in (*node.inputs, *node.outputs)]
        codes = tuple(0 if known is None else known.tensor_type.elem_type for known in types)
        return node.op, node.domain, Imports.of(self.scope_of[node]), codes

    def _blame(self, node: Node, reason: str) -> None:
        self.failed[node] = reason
        self._kinds[self._kind(node) if "NOT_IMPLEMENTED" in reason else node] = reason

    def _session(self, nodes: list[Node]) -> None:
        inside = set(nodes)
        fetched = {
            self.flat.name(tensor): tensor
            for node in nodes
            for tensor in node.outputs
            if tensor.name
            and (tensor in self._kept or any(r in self._pending and r not in inside for r in tensor.outputs))
        }
        if not fetched:  # what read them has failed
            return
        self.sessions += 1
        for name, value in Session(self._model(nodes, fetched)).run({}).items():
            tensor = fetched[name]
            if not isinstance(value, np.ndarray):
                raise NotRunnable(f"'{tensor.name}' is no tensor")
            self.facts.put(tensor, value.copy())  # onnxruntime's own array keeps all the memory of its session
            self._held += value.nbytes
            if tensor not in self._kept:
                self._passing.add(tensor)

    def _model(self, nodes: list[Node], fetched: Mapping[str, Tensor]) -> ModelProto:
        imports = Imports.of(self.scope_of[nodes[0]])
        model = ModelProto(ir_version=_IR_VERSION, opset_import=imports.protos(), graph=GraphProto(name="folded"))
        model.graph.node.extend(self.flat.node(node) for node in nodes)
        made = {tensor for node in nodes for tensor in node.outputs}
        read = dict.fromkeys(t for node in nodes for t in node.inputs if t.name and t not in made)
        for tensor in read:
            initializer = model.graph.initializer.add()
            initializer.CopyFrom(self.facts.write(tensor))
            initializer.name = self.flat.name(tensor)
        for name, tensor in fetched.items():
            output = model.graph.output.add(name=name)
            output.type.tensor_type.elem_type = self.facts.types[tensor].tensor_type.elem_type
        return model

    def _release(self, batch: list[Node]) -> None:
        """Let go of values that only nodes of this call needed, once they are computed."""
        for tensor in self._passing.intersection(t for node in batch for t in node.inputs):
            if not any(reader in self._pending for reader in tensor.outputs):
                self._passing.remove(tensor)
                self._held -= self.facts.values.pop(tensor).nbytes
