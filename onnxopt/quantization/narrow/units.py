"""A model as units, which take a narrower type as a whole: nodes, and values that control flow hands on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.element_types import element_types
from onnxopt.ir.purity import Purity
from onnxopt.quantization.narrow.operators import MOVING, VALUED, Slot, Slots, slots

_TENSOR = ("tensor_type", None)
_FEW = 64
"""Elements of a constant beyond which a node that reads it is worth converting, though it only moves values."""
_BODY_INPUTS = {"Loop": 2, "Scan": 0}


@dataclass(frozen=True)
class Place:
    """Where a tensor is read: an input of a node, or an output of a graph."""

    holder: ir.Node | ir.Graph
    index: int

    @property
    def tensor(self) -> ir.Tensor:
        """What is read there."""
        found: ir.Tensor = (self.holder.inputs if isinstance(self.holder, ir.Node) else self.holder.outputs)[self.index]
        return found


@dataclass(eq=False)
class Unit:
    """What is converted together: the float32 tensors that it reads and writes have one type."""

    node: ir.Node
    reads: list[Place] = field(default_factory=list)
    writes: list[ir.Variable] = field(default_factory=list)
    is_free: bool = False
    """Whether it computes nothing: it has whatever type makes for fewer Casts."""
    reason: str = ""
    """Why it stays in float32; none while it need not."""

    @property
    def tensors(self) -> Iterator[ir.Tensor]:
        """What it reads and writes."""
        yield from (place.tensor for place in self.reads)
        yield from self.writes


class Units:
    """The units of the main graph and its bodies; local functions are calls, and stay as they are.

    Args:
        graph: The main graph.
        type_: `float16` or `bfloat16`.
    """

    def __init__(self, graph: ir.Graph, type_: str) -> None:
        self.graph, self.type_ = graph, type_
        self.all: list[Unit] = []
        self.wide: list[Place] = []
        """Places that take float32, whatever else is converted."""
        self.writer: dict[ir.Tensor, Unit] = {}
        self.scope_of: dict[ir.Node, ir.Graph] = {}
        self.foreign: list[ir.Node] = []
        """Nodes that no ONNX operator specification tells of, calls of functions included, that touch float32."""
        self.inner: list[Unit] = []
        """Those in bodies."""
        self._types, self._purity = element_types(graph), Purity(graph)
        self._scope(graph, "")
        for unit in self.all:
            self.writer.update((tensor, unit) for tensor in unit.writes)

    def is_float32(self, tensor: ir.Tensor) -> bool:
        """Whether it is a tensor of float32, for certain."""
        if isinstance(tensor, ir.Constant):
            return tensor.dtype == np.float32
        return bool(tensor.name) and tensor.type in _TENSOR and self.dtype(tensor) == np.float32

    def dtype(self, tensor: ir.Tensor) -> dtypes.DType | None:
        """The element type, where it is certain."""
        return tensor.dtype if tensor.dtype is not None else self._types.get(tensor)

    def _scope(self, scope: ir.Graph, kept: str) -> None:
        for node in scope.nodes:
            self.scope_of[node] = scope
            bodies = list(node.subgraphs()) if node.attrs else []
            if bodies and node.is_op("If", "Loop", "Scan") and (node.op != "Scan" or scope.opset >= 9):
                self._control_flow(node, bodies, kept)
                for body in bodies:
                    self._scope(body, kept)
                continue
            self._node(node, scope, kept)
            for body in bodies:
                self._wide_outputs(body)
                self._scope(body, kept or f"it is in the body of {node.op}, which stays in float32")
        if scope is self.graph:
            self._wide_outputs(scope)

    def _wide_outputs(self, scope: ir.Graph) -> None:
        self.wide += [Place(scope, at) for at, tensor in enumerate(scope.outputs) if self.is_float32(tensor)]

    def _node(self, node: ir.Node, scope: ir.Graph, kept: str) -> None:
        given = tuple(self.is_float32(tensor) for tensor in node.inputs)
        gives = [isinstance(tensor, ir.Variable) and self.is_float32(tensor) for tensor in node.outputs]
        if not any(given) and not any(gives):
            return
        takes = self._slots(node, scope, given)
        unit = Unit(node, reason=kept or takes.reason)
        for index, slot in enumerate(takes.inputs):
            if given[index] and slot is Slot.NARROW:
                unit.reads.append(Place(node, index))
            elif given[index] and slot is Slot.WIDE:
                self.wide.append(Place(node, index))
        unit.writes = [
            tensor for tensor, slot, is_it in zip(node.outputs, takes.outputs, gives, strict=True)
            if is_it and slot is Slot.NARROW
        ]  # fmt: skip
        if not node.is_standard or self._purity.called(node) is not None:
            self.foreign.append(node)
        if not unit.reads and not unit.writes:
            return
        unknown = next((t for t in (*node.inputs, *node.outputs) if self._is_unknown(t)), None)
        if unknown is not None and not unit.reason:
            unit.reason = f"the element type of '{unknown.name}' is not known"
        unit.is_free = self._is_free(unit)
        self._add(unit, scope)

    def _slots(self, node: ir.Node, scope: ir.Graph, given: tuple[bool, ...]) -> Slots:
        if self._purity.called(node) is not None:
            wide = (Slot.WIDE,)
            return Slots(wide * len(given), wide * len(node.outputs), "it calls a local function")
        domain = "" if node.is_standard else node.domain or ""
        if node.op == "Constant" and node.is_standard and not _is_plain_constant(node):
            return Slots((), (Slot.WIDE,), "its value is none of plain numbers")
        return slots(node.op, domain, scope.opset_of(node.domain), given, len(node.outputs), self.type_)

    def _is_unknown(self, tensor: ir.Tensor) -> bool:
        return isinstance(tensor, ir.Variable) and bool(tensor.name) and self.dtype(tensor) is None

    def _is_free(self, unit: Unit) -> bool:
        node = unit.node
        if node.op in VALUED:
            return True
        constants = (place.tensor for place in unit.reads if isinstance(place.tensor, ir.Constant))
        return node.op in MOVING and all(math.prod(constant.shape) <= _FEW for constant in constants)

    def _control_flow(self, node: ir.Node, bodies: list[ir.Graph], kept: str) -> None:
        """Units of what If, Loop and Scan hand on: by position, as the operator specification has it."""
        scope = self.scope_of[node]
        if node.op == "If":
            for at, output in enumerate(node.outputs):
                reads = [Place(body, at) for body in bodies if at < len(body.outputs)]
                self._handed(node, scope, reads, [output], kept)
            return
        body, first = bodies[0], 2 * (node.op == "Loop")
        skipped = 1 if node.op == "Loop" else 0  # the condition is the first output of the body
        carried = len(body.inputs) - (first or int(node.attr("num_scan_inputs", 0)))
        for at in range(carried):
            reads = [Place(node, first + at), Place(body, skipped + at)]
            self._handed(node, scope, reads, [body.inputs[first + at], node.outputs[at]], kept)
        for at in range(carried, len(body.outputs) - skipped):  # stacked
            self._handed(node, scope, [Place(body, skipped + at)], [node.outputs[at]], kept)
        for at in range(first + carried, len(body.inputs)):  # taken apart, by Scan alone
            self._handed(node, scope, [Place(node, at)], [body.inputs[at]], kept)

    def _handed(self, node: ir.Node, scope: ir.Graph, places: list[Place], tensors: list[ir.Tensor], kept: str) -> None:
        reads = [place for place in places if self.is_float32(place.tensor)]
        writes = [tensor for tensor in tensors if isinstance(tensor, ir.Variable) and self.is_float32(tensor)]
        named = [tensor for tensor in tensors if tensor.name]
        if not reads and not writes:
            return
        if len(reads) < len(places) or len(writes) < len(named):
            kept = kept or "not all that it hands on is known to be float32"
        self._add(Unit(node, reads, writes, is_free=True, reason=kept), scope)

    def _add(self, unit: Unit, scope: ir.Graph) -> None:
        self.all.append(unit)
        if scope is not self.graph:
            self.inner.append(unit)


def _is_plain_constant(node: ir.Node) -> bool:
    value = node.attr("value")
    if isinstance(value, ir.Constant):
        return True
    return any(isinstance(node.attr(name), (int, float, list)) for name in ("value_float", "value_floats"))
