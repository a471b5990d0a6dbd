"""`merge-slices`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import Dims, ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.movement.rewriting import (
    NO_INITIALIZERS,
    int64s,
    may_have_constants,
    nodes_of,
    respell,
    same_int64s,
)
from onnxopt.rules.movement.slices import STEPS_FROM, Span, Spans, columns, merged, spans_of, tiles

_SLICE = frozenset({"Slice"})
_SPLIT_TAKES_INPUT_FROM = 13


@dataclass(frozen=True)
class MergeSlices(Pass):
    """Write two Slices in a row as one, and Slices that cut a tensor into pieces as one Split.

    A Slice of a Slice that nobody else reads takes all at once, of other axes or of the same one, steps multiplied.
    Slices that together take all of one axis, each element once, become a Split, which is one node in place of many.

    Starts, ends and steps must be constants, and forwards; from the end of an axis they count only where its size is
    certain. In every scope; the Slices of a Split must be in the same graph.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        opsets = dict(nodes_of(graph, _SLICE, Purity(graph)))
        if len(opsets) < 2:
            return False
        with ir.edit(graph) as edit:
            place = {node: index for index, node in enumerate(opsets)}
            work = _Work(edit, ctx, ctx.analysis(ProvenShapes, graph), opsets, place)
            for node in opsets:
                work.merge(node)
            for tensor in dict.fromkeys(node.inputs[0] for node in opsets if not edit.was_removed(node)):
                work.split(tensor)
        return edit.changed


@dataclass(frozen=True)
class _Work:
    edit: ir.Edit
    ctx: Context
    shapes: ProvenShapes
    opsets: dict[ir.Node, int]
    place: dict[ir.Node, int]
    """Of each Slice among all, in the order of the graph."""

    def _dims(self, tensor: ir.Tensor) -> Dims | None:
        return self.shapes.dims(tensor)

    def merge(self, second: ir.Node) -> None:
        """Let a Slice do what the Slice before it does, too."""
        first = second.inputs[0].producer
        if first not in self.opsets or self.edit.sole_reader(first.outputs[0]) is not second:
            return
        spans = [spans_of(node, self._dims(node.inputs[0])) for node in (first, second)]
        for found in spans:
            if found is None:
                return
            if isinstance(found, str):
                self.ctx.refuse(found, second)
                return
        both = merged(*spans)  # type: ignore[arg-type]
        opset = self.opsets[second]
        if opset < STEPS_FROM and any(span.step != 1 for span in both.values()):
            return
        if opset >= STEPS_FROM and not may_have_constants(self.edit, second):
            self.ctx.refuse(NO_INITIALIZERS, second)
        elif self.ctx.allow(f"merged with the Slice of '{first.outputs[0].name}'", second):
            self._respell(second, first, both)
            self.edit.remove(first)

    def _respell(self, node: ir.Node, first: ir.Node, spans: Spans) -> None:
        source = first.inputs[0]
        starts, ends, axes, steps = columns(spans)
        if self.opsets[node] < STEPS_FROM:
            respell(self.edit, node, "Slice", [source], {"starts": starts, "ends": ends, "axes": axes})
            return
        given = {"starts": starts, "ends": ends, "axes": axes}
        if any(step != 1 for step in steps):
            given["steps"] = steps
        known = [*node.inputs[1:], *first.inputs[1:]]
        inputs = [same_int64s(self.edit, node, role, values, known) for role, values in given.items()]
        respell(self.edit, node, "Slice", [source, *inputs], {})

    def split(self, tensor: ir.Tensor) -> None:
        """Let one Split do what the Slices of a tensor do that cut it into pieces along one axis."""
        by_axis: dict[tuple[ir.Graph | None, int], list[tuple[ir.Node, Span]]] = {}
        dims = self._dims(tensor)
        if dims is None:
            return
        readers = [reader for reader in dict.fromkeys(tensor.outputs) if reader in self.opsets]
        for node in readers if len(readers) > 1 else ():
            if self.edit.was_removed(node) or node.inputs[0] is not tensor or tensor in node.inputs[1:]:
                continue
            spans = spans_of(node, dims)
            if isinstance(spans, dict) and len(spans) == 1:
                axis, span = next(iter(spans.items()))
                by_axis.setdefault((self.edit.scope_of(node), axis), []).append((node, span))
        for (_, axis), pieces in by_axis.items():
            size = dims[axis]
            if len(pieces) > 1 and isinstance(size, int):
                order = tiles([span for _, span in pieces], size)
                if order is not None:
                    self._become_split(tensor, axis, [pieces[index] for index in order])

    def _become_split(self, tensor: ir.Tensor, axis: int, pieces: list[tuple[ir.Node, Span]]) -> None:
        nodes = [node for node, _ in pieces]
        first = min(nodes, key=lambda node: self.place[node])
        by_input = self.opsets[first] >= _SPLIT_TAKES_INPUT_FROM
        if by_input and not may_have_constants(self.edit, first):
            self.ctx.refuse(NO_INITIALIZERS, first)
            return
        if not self.ctx.allow(f"became a Split of '{tensor.name}', with {len(nodes) - 1} other Slices", first):
            return
        sizes = [span.end - span.start for _, span in pieces]
        inputs = [tensor, int64s(self.edit, first, "split", sizes)] if by_input else [tensor]
        outputs = [node.outputs[0] for node in nodes]
        for node in nodes:
            node.outputs.clear()
            if node is not first:
                self.edit.remove(node)
        respell(self.edit, first, "Split", inputs, {"axis": axis} if by_input else {"axis": axis, "split": sizes})
        first.outputs.extend(outputs)
