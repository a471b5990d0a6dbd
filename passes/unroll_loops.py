"""`unroll-loops`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.folding.candidates import takes_initializers
from onnxopt.ir.edit import detach, with_inner_nodes
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.ir.splice import Binding, Names, copy_nodes, given_out, own_names
from onnxopt.ir.values import Array
from onnxopt.pipeline.base import Context, Pass
from onnxopt.rules.loops.trips import Refused, Slice, Trips, Value, trips_of

_LOOPS = ("Loop", "Scan")
_ANY_CONSTANT = 9
"""Since this opset, Constant gives other types than floats."""
_ANY_IDENTITY = 16
"""Since this opset, Identity takes sequences and optionals too."""


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Put as many copies of the body in the place of a Loop or Scan as it makes trips, if they are few and known.

    A Loop: the trip count is a constant, and the condition stays true (or is false from the start, or after the first
    trip). A Scan: a length of what it scans follows from the inputs of the model. Scan outputs are put together by
    Unsqueeze and Concat. In every scope, functions included, where no length of a Scan is certain; loops in the body
    come next, and find the number of the trip to be a constant.

    Outputs keep their names; the copies of a body's values get fresh ones, and what the body declares of them is
    dropped, since it need not hold in each trip alone. Refused: a condition or trip count that is computed, more trips
    or nodes than the options allow, scan outputs of no trip at all, Scan-8, a body with quantization annotations.
    """

    needs: ClassVar[tuple[str, ...]] = ("Loop", "Scan")

    max_trips: int = 8
    """Unroll no loop of more trips."""
    max_nodes: int = 256
    """Unroll no loop whose copies, subgraphs included, have more nodes together."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = False
        purity = Purity(graph)
        while True:  # a loop in a body that was unrolled may have a known number of trips now
            refused: list[tuple[ir.Node, str]] = []
            again = False
            for root in (graph, *graph.functions):
                scopes = (root, *root.subgraphs(recursive=True))
                if any(node.op in _LOOPS for scope in scopes for node in scope.nodes):
                    shapes = None if isinstance(root, ir.Function) else ctx.analysis(ProvenShapes, graph)
                    again |= _Root(root, graph, self, purity, shapes, ctx).run(refused)
            if not again:
                break
            changed = True
            ctx.forget()
        for node, reason in refused:
            ctx.refuse(reason, node)
        return changed


class _Root:
    """The main graph or a function, with its subgraphs."""

    def __init__(
        self,
        root: ir.Graph,
        main: ir.Graph,
        options: UnrollLoops,
        purity: Purity,
        shapes: ProvenShapes | None,
        ctx: Context,
    ) -> None:
        self.main = main
        self.root, self.options, self.purity, self.shapes, self.ctx = root, options, purity, shapes, ctx
        self.dead: list[ir.Node] = []
        self.gone: set[ir.Graph] = set()
        """The bodies of loops that are unrolled, with their subgraphs."""
        self.given: Counter[ir.Tensor] = given_out(root)
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = Names(self.root)
        return self._names

    def run(self, refused: list[tuple[ir.Node, str]]) -> bool:
        """Unroll what can be; return whether there was any."""
        for scope in [self.root, *self.root.subgraphs(recursive=True)]:
            kept: list[ir.Node] = []
            before = len(self.dead)
            if scope in self.gone:
                continue
            for node in scope.nodes:
                copies = None
                if node.op in _LOOPS and node.is_standard and self.purity.called(node) is None:
                    try:
                        copies = self._unroll(node, scope)
                    except Refused as reason:
                        refused.append((node, str(reason)))
                kept += [node] if copies is None else copies
            if len(self.dead) > before:
                scope.nodes[:] = kept
        detach(self.dead)
        return bool(self.dead)

    def _unroll(self, node: ir.Node, scope: ir.Graph) -> list[ir.Node] | None:
        trips = trips_of(node, scope, self.shapes)
        self._require_few(trips)
        for output in node.outputs:
            kind = getattr(output, "type", None) or "tensor_type"
            if self.given[output] and kind != "tensor_type" and scope.opset < _ANY_IDENTITY:
                raise Refused(
                    f"'{output.name}' is a {kind.removesuffix('_type')}, and may need an Identity of opset 16"
                )
        if not takes_initializers(scope, self.main) and scope.opset < _ANY_CONSTANT:
            raise Refused(f"opset {scope.opset} has no Constant of integers, and IR version 3 no initializer in a body")
        if not self.ctx.allow(f"unrolled: {trips.count} trips of {len(trips.body.nodes)} nodes", node):
            return None
        inner = _scopes(trips.body)
        self.gone.update(inner)
        self.given.subtract(tensor for subgraph in inner for tensor in subgraph.outputs)
        self.names.drop(own_names(inner))
        copies = _Copies(node, trips, scope, self).all()
        list.clear(node.outputs)
        self.dead.append(node)
        return copies

    def _require_few(self, trips: Trips) -> None:
        if trips.count > self.options.max_trips:
            raise Refused(f"{trips.count} trips are more than max-trips={self.options.max_trips}")
        nodes = trips.count * sum(1 for _ in with_inner_nodes(trips.body.nodes))
        if nodes > self.options.max_nodes:
            raise Refused(f"{nodes} nodes would be more than max-nodes={self.options.max_nodes}")
        if trips.body.quantization_annotation:
            raise Refused("the body has quantization annotations")


def _scopes(graph: ir.Graph) -> list[ir.Graph]:
    return [graph, *graph.subgraphs(recursive=True)]


class _Copies:
    """The nodes that stand for one loop."""

    def __init__(self, node: ir.Node, trips: Trips, scope: ir.Graph, root: _Root) -> None:
        self.node, self.trips, self.scope, self.names, self.given = node, trips, scope, root.names, root.given
        self.has_initializers = takes_initializers(scope, root.main)
        self.nodes: list[ir.Node] = []

    def all(self) -> list[ir.Node]:
        """The copies of all trips, and what puts their outputs together."""
        trips, body = self.trips, self.trips.body
        states = list(trips.states)
        scanned: list[list[ir.Tensor]] = [[] for _ in trips.outputs]
        for trip in range(trips.count):
            tensors = dict(zip(trips.state_inputs, states, strict=True))
            for tensor, value in trips.per_trip:
                if tensor.outputs or tensor in trips.body_outputs:
                    tensors[tensor] = self._made(value, tensor, trip)
            copies = copy_nodes(body, tensors, self.names, f"{self.node.name}/" if self.node.name else "")
            self._undeclare(copies)
            self.nodes += copies
            given = [tensors.get(tensor, tensor) for tensor in trips.body_outputs]
            states = given[: len(states)]
            for values, value in zip(scanned, given[len(states) :], strict=True):
                values.append(value)
        joined = [
            self._joined(values, axis, reverse, output)
            if output.name and (output.outputs or self.given[output])
            else None
            for values, (axis, reverse), output in zip(
                scanned, trips.outputs, self.node.outputs[len(states) :], strict=False
            )
        ]
        pairs = [*zip(self.node.outputs, states, strict=False)]
        pairs += [(out, one) for out, one in zip(self.node.outputs[len(states) :], joined, strict=False) if one]
        binding = Binding([output for output, _ in pairs], [value for _, value in pairs], self.given)
        self.nodes += binding.apply(set(self.nodes), self.scope, self.names)
        self._drop_conditions()
        return self.nodes

    def _undeclare(self, copies: list[ir.Node]) -> None:
        for node in with_inner_nodes(copies):
            for tensor in node.outputs:
                if tensor.name and tensor.type == "tensor_type":
                    tensor.info, tensor.shape = None, None
            for subgraph in node.subgraphs():
                self.given.update(subgraph.outputs)

    def _made(self, value: Value, tensor: ir.Tensor, trip: int) -> ir.Tensor:
        """What a body input is in one trip."""
        found = value(trip)
        if not isinstance(found, Slice):
            return self._constant(found, tensor.name)
        index = self._constant(np.array(found.index, np.int64), f"{tensor.name}_index")
        output = ir.Variable(self.names.fresh(tensor.name), tensor.dtype)
        name = self.names.fresh(f"{self.node.name}/Gather") if self.node.name else ""
        self.nodes.append(ir.Node("Gather", name, {"axis": found.axis}, [found.of, index], [output]))
        return output

    def _constant(self, value: Array, name: str) -> ir.Tensor:
        """An initializer, or a Constant node in a scope that can have none."""
        constant = ir.Constant(self.names.fresh(name), value)
        if self.has_initializers:
            return constant
        output = ir.Variable(constant.name, value.dtype, value.shape)
        self.nodes.append(ir.Node("Constant", "", {"value": ir.Constant("", value)}, [], [output]))
        return output

    def _joined(self, values: list[ir.Tensor], axis: int, reverse: bool, output: ir.Tensor) -> ir.Tensor:
        """The values of all trips along a new axis."""
        wide = []
        is_input = self.scope.opset >= _AXES_INPUT
        axes = self._constant(np.array([axis], np.int64), f"{output.name}_axis") if is_input else None
        for value in values[::-1] if reverse else values:
            one = ir.Variable(self.names.fresh(f"{output.name}_trip"), value.dtype)
            inputs, attrs = ([value, axes], {}) if axes is not None else ([value], {"axes": [axis]})
            self.nodes.append(ir.Node("Unsqueeze", "", attrs, inputs, [one]))
            wide.append(one)
        if len(wide) == 1:
            return wide[0]
        whole = ir.Variable(self.names.fresh(f"{output.name}_trips"), values[0].dtype)
        self.nodes.append(ir.Node("Concat", "", {"axis": axis}, wide, [whole]))
        return whole

    def _drop_conditions(self) -> None:
        """Take out what only passed a condition on."""
        for node in reversed(self.nodes):
            if node.is_op("Constant", "Identity") and not any(t.outputs or self.given[t] for t in node.outputs):
                detach([node])
        self.nodes = [node for node in self.nodes if node.outputs]


_AXES_INPUT = 13
"""Since this opset, Unsqueeze takes its axes as an input."""
