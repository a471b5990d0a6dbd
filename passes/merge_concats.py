"""`merge-concats`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.movement.concats import Extent, concat_axis, extent, slice_span, split_axis, whole_runs
from onnxopt.rules.movement.rewriting import nodes_of, remove_unread, respell

_CONCAT = frozenset({"Concat"})
_TAKES = frozenset({"Slice", "Split"})


@dataclass(frozen=True)
class MergeConcats(Pass):
    """Remove Concats that are taken apart again, and what was taken apart to be joined again.

    A Concat of a Concat along the same axis joins all at once, if nobody else reads the inner one. All outputs of a
    Split, or Slices one after the other that take all of a tensor, joined in order along the axis they were cut, are
    the tensor. A Split of a Concat into the very parts, and a Slice of one part of it, are the parts.

    Sizes and starts must be equal for certain; symbolic ones may be. In every scope.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        purity = Purity(graph)
        concats = dict(nodes_of(graph, _CONCAT, purity))
        if not concats:
            return False
        takers = dict(nodes_of(graph, _TAKES, purity))
        with ir.edit(graph) as edit:
            work = _Work(edit, ctx, ctx.analysis(ProvenShapes, graph), concats, takers)
            for node in concats:
                work.flatten(node)
                work.rejoin(node)
            for node in takers:
                work.take_part(node)
        return edit.changed


@dataclass(frozen=True)
class _Work:
    edit: ir.Edit
    ctx: Context
    shapes: ProvenShapes
    concats: dict[ir.Node, int]
    takers: dict[ir.Node, int]

    def _axis(self, concat: ir.Node) -> int | None:
        return concat_axis(concat, self.shapes, self.concats[concat])

    def flatten(self, outer: ir.Node) -> None:
        """Let a Concat join what the Concats that it alone reads join."""
        axis = self._axis(outer)
        inner = [tensor.producer for tensor in outer.inputs]
        if axis is None or not any(node in self.concats for node in inner):
            return
        inputs: list[ir.Tensor] = []
        gone: list[ir.Node] = []
        for tensor, node in zip(outer.inputs, inner, strict=True):
            mine = node in self.concats and self._axis(node) == axis
            if mine and self.edit.sole_reader(tensor) is outer and self._may_flatten(node, outer):
                inputs += node.inputs
                gone.append(node)
            else:
                inputs.append(tensor)
        if gone:
            respell(self.edit, outer, "Concat", inputs, dict(outer.attrs))
            for node in gone:
                self.edit.remove(node)

    def _may_flatten(self, node: ir.Node, outer: ir.Node) -> bool:
        return self.ctx.allow(f"joins what '{node.outputs[0].name}' joined", outer)

    def rejoin(self, concat: ir.Node) -> None:
        """Let a Concat of all pieces of a tensor be the tensor."""
        axis = self._axis(concat)
        if axis is None or len(concat.inputs) < 2:
            return
        runs = whole_runs(concat.inputs, self._piece(axis))
        if not runs:
            runs = self._slice_runs(concat.inputs, axis)
        if not runs:
            return
        start, end, whole = runs[0]
        if end - start < len(concat.inputs):
            self._shorten(concat, runs)
            return
        output = concat.outputs[0]
        reason = self.edit.obstacle(output, whole)
        if reason is not None:
            self.ctx.refuse(reason, concat)
        elif self.ctx.allow(f"removed: it joins all that '{whole.name}' was cut into", concat):
            pieces = [tensor.producer for tensor in concat.inputs]
            self.edit.replace_all_uses(output, whole)
            self.edit.remove(concat)
            self._sweep(pieces)

    def _shorten(self, concat: ir.Node, runs: list[tuple[int, int, ir.Tensor]]) -> None:
        """Read the tensor in place of its pieces, where those then go."""
        inputs = list(concat.inputs)
        pieces: list[ir.Node] = []
        for start, end, whole in reversed(runs):
            if all(self.edit.sole_reader(tensor) is concat for tensor in inputs[start:end]) and self.ctx.allow(
                f"joins '{whole.name}', not all that it was cut into", concat
            ):
                pieces += [tensor.producer for tensor in inputs[start:end]]
                inputs[start:end] = [whole]
        if pieces:
            respell(self.edit, concat, "Concat", inputs, dict(concat.attrs))
            self._sweep(pieces)

    def _sweep(self, pieces: list[ir.Node]) -> None:
        for node in dict.fromkeys(pieces):
            remove_unread(self.edit, node)

    def _piece(self, axis: int) -> Callable[[ir.Tensor], tuple[ir.Tensor, int, int] | None]:
        def piece(tensor: ir.Tensor) -> tuple[ir.Tensor, int, int] | None:
            node = tensor.producer
            if node not in self.takers or node.op != "Split" or split_axis(node, self.shapes) != axis:
                return None
            index = next(i for i, output in enumerate(node.outputs) if output is tensor)
            return node.inputs[0], index, len(node.outputs)

        return piece

    def _slice_runs(self, parts: list[ir.Tensor], axis: int) -> list[tuple[int, int, ir.Tensor]]:
        """Runs of Slices that take all of a tensor, each from where the one before it ended."""
        runs = []
        at = 0
        while at < len(parts):
            start = at
            whole: ir.Tensor | None = None
            reached: Extent = 0
            while at < len(parts):
                node = parts[at].producer
                span = None
                if node in self.takers and node.op == "Slice" and whole in (None, node.inputs[0]):
                    span = slice_span(node, axis, self.shapes)
                if span is None or span[0] != reached:
                    break
                whole, reached = node.inputs[0], span[1]
                at += 1
            if at - start > 1 and whole is not None and reached == extent(whole, axis, self.shapes):
                runs.append((start, at, whole))
            at = max(at, start + 1)
        return runs

    def take_part(self, node: ir.Node) -> None:
        """Let what is cut of a Concat be the parts of it, where it is those."""
        concat: ir.Node | None = None if self.edit.was_removed(node) else node.inputs[0].producer
        axis = self._axis(concat) if concat in self.concats else None
        if concat is None or axis is None:
            return
        pairs: list[tuple[ir.Tensor, ir.Tensor]] = []
        for output, part in zip(node.outputs, self._parts(node, concat, axis), strict=False):
            if output.name and self.edit.is_used(output):
                if part is None:
                    return
                pairs.append((output, part))
        if not pairs:
            return
        reason = self._obstacle(pairs)
        if reason is not None:
            self.ctx.refuse(reason, node)
        elif self.ctx.allow(f"removed: it takes apart what '{concat.outputs[0].name}' joined", node):
            for output, part in pairs:
                self.edit.replace_all_uses(output, part)
            self.edit.remove(node)
            remove_unread(self.edit, concat)

    def _obstacle(self, pairs: list[tuple[ir.Tensor, ir.Tensor]]) -> str | None:
        reasons = [self.edit.obstacle(output, part) for output, part in pairs]
        named = [part for output, part in pairs if self.edit.is_output(output)]
        if len(set(named)) < len(named):  # the first would be an output by then
            reasons.append(f"'{named[0].name}' would be two outputs, and each keeps its name")
        return next((reason for reason in reasons if reason is not None), None)

    def _parts(self, node: ir.Node, concat: ir.Node, axis: int) -> list[ir.Tensor | None]:
        """For each output, the input of the Concat that it is."""
        sizes = [extent(tensor, axis, self.shapes) for tensor in concat.inputs]
        starts: dict[tuple[Extent, Extent], ir.Tensor] = {}
        reached: Extent = 0
        for tensor, size in zip(concat.inputs, sizes, strict=True):
            if size is None:
                break
            starts.setdefault((reached, size), tensor)
            reached = reached + size
        if node.op == "Slice":
            span = slice_span(node, axis, self.shapes)
            return [None if span is None else starts.get((span[0], span[1] - span[0]))]
        if split_axis(node, self.shapes) != axis:
            return []
        found: list[ir.Tensor | None] = []
        at: Extent | None = 0
        for output in node.outputs:
            size = extent(output, axis, self.shapes)
            found.append(None if at is None or size is None else starts.get((at, size)))
            at = None if at is None or size is None else at + size
        return found
