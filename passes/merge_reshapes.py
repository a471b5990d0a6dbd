"""`merge-reshapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import Dims, ProvenShapes, ProvenShapesNonempty
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.movement.elementwise import Region, region_before
from onnxopt.rules.movement.reshapes import Pair, Plan, Verdict, spelled
from onnxopt.rules.movement.rewriting import (
    NO_INITIALIZERS,
    int64s,
    may_have_constants,
    nodes_of,
    remove_unread,
    respell,
)
from onnxopt.rules.movement.transposed_views import Detour, detour_before
from onnxopt.rules.movement.views import VIEWS, gathers_in_order


@dataclass(frozen=True)
class MergeReshapes(Pass):
    """Write Reshape, Squeeze, Unsqueeze and Flatten in a row as one node, or none.

    Of two in a row the second reads the first one's input and does what both did; where that is nothing, it goes. The 0
    and -1 of a target shape are worked out from the dimensions that are certain; a dimension that is not is copied (0)
    or left to the runtime (-1). A -1 is written only where no dimension beside it can be 0: runtimes refuse that. Where
    others read the first node's output too, the second is merged if they all can be, so that the first node goes.

    Also through elementwise nodes, where nobody else reads what they compute: Reshape, Relu, Reshape is Relu, Reshape.
    Axes that are added before a Transpose and squeezed after it go. A Gather of all indices in order counts as one of
    these operators.

    In every scope; a chain may begin in an outer one. Two Unsqueezes in a row that make an attention mask stay where
    the target's engine looks for them.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS

    empty_inputs: bool = True
    """Whether a dimension of a model input may be 0. If not, more targets are known to copy nothing."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = False
        while _Round(graph, ctx, nonempty=not self.empty_inputs).run():  # what merged may have made a shape certain
            changed = True
            ctx.forget()
        return changed


class _Round:
    """One sweep over all nodes."""

    def __init__(self, graph: ir.Graph, ctx: Context, nonempty: bool) -> None:
        self.graph, self.ctx, self.nonempty = graph, ctx, nonempty
        self.shapes: ProvenShapes = ctx.analysis(ProvenShapesNonempty if nonempty else ProvenShapes, graph)
        self.purity = Purity(graph)
        self.moved: dict[ir.Tensor, Dims | None] = {}
        """The shapes of the outputs of elementwise nodes that this round moved."""
        self.opsets: dict[ir.Node, int] = {}
        self.whole_groups: dict[ir.Node, bool] = {}
        """Of a node that several read: whether all of them can be merged with it."""

    def run(self) -> bool:
        self.opsets = {
            node: opset
            for node, opset in nodes_of(self.graph, VIEWS, self.purity)
            if node.op != "Gather" or gathers_in_order(node, self._dims(node.inputs[0]))
        }
        if len(self.opsets) < 2:
            return False
        with ir.edit(self.graph) as self.edit:
            for node in self.opsets:
                if not self.edit.was_removed(node):
                    self._merge(node)
        return self.edit.changed

    def _merge(self, node: ir.Node) -> None:
        detour = detour_before(node, self.opsets, self.edit)
        if detour is not None and not self.purity.called(detour.transpose):
            self._cut_short(detour, node)
            return
        region = region_before(node.inputs[0], self.opsets, self.edit, self.purity)
        if region is None or not self._has_room(region):
            return
        first = region.entry
        verdict = self._verdict(first, node)
        if not isinstance(verdict, Plan):
            if verdict is not None:
                self.ctx.refuse(verdict, node)
            return
        goes = bool(region.nodes) or self.edit.sole_reader(first.outputs[0]) is node
        if not verdict.op:
            self._drop(region, node)
        elif goes or self._all_merge(first):
            self._rewrite(region, node, verdict)
        else:
            self.ctx.refuse(f"'{first.outputs[0].name}' has other readers, so no node would go", node)

    def _has_room(self, region: Region) -> bool:
        """Whether the constants between add no dimension, before or after."""
        if not region.scalar_rank:
            return True
        shapes = [self._dims(tensor) for tensor in (region.entry.inputs[0], region.entry.outputs[0])]
        return all(shape is not None and len(shape) >= region.scalar_rank for shape in shapes)

    def _dims(self, tensor: ir.Tensor) -> Dims | None:
        return self.moved[tensor] if tensor in self.moved else self.shapes.dims(tensor)

    def _verdict(self, first: ir.Node, second: ir.Node) -> Verdict:
        verdict = Pair(first, second, self._dims, self.shapes.elements, self.opsets[second], self.nonempty).plan()
        if not isinstance(verdict, Plan) or not verdict.op:
            return verdict
        if verdict.ints == _MASK_AXES and first.op == second.op == "Unsqueeze" and self._makes_mask(first, second):
            return "the target's engine looks for both where it fuses attention"
        if verdict.ints is not None and spelled(verdict, self.opsets[second]):
            return verdict if may_have_constants(self.edit, second) else NO_INITIALIZERS
        return verdict

    def _all_merge(self, first: ir.Node) -> bool:
        """Whether every reader of a node's output can be merged with it, so that it goes."""
        if first not in self.whole_groups:
            tensor = first.outputs[0]
            readers = [] if self.edit.is_output(tensor) else [r for r in tensor.outputs if tensor in r.inputs]
            self.whole_groups[first] = bool(readers) and all(
                reader in self.opsets
                and reader.inputs[0] is tensor
                and tensor not in reader.inputs[1:]
                and isinstance(self._verdict(first, reader), Plan)
                for reader in readers
            )
        return self.whole_groups[first]

    def _drop(self, region: Region, node: ir.Node) -> None:
        first = region.entry
        kept = node.inputs[0] if region.nodes else first.inputs[0]
        reason = self.edit.obstacle(node.outputs[0], kept)
        if reason is not None and self.edit.sole_reader(first.outputs[0]) is not node:
            self.ctx.refuse(reason, node)
            return
        what = f"with '{first.outputs[0].name}' it changes nothing"
        if not self.ctx.allow(f"removed: {what}" if reason is None else f"became Identity: {what}", node):
            return
        self._move(region)
        if reason is None:
            self.edit.replace_all_uses(node.outputs[0], kept)
            self.edit.remove(node)
        else:
            respell(self.edit, node, "Identity", [kept], {})
        remove_unread(self.edit, first)

    def _cut_short(self, detour: Detour, squeeze: ir.Node) -> None:
        """Let a Transpose do without axes that are added before it and squeezed after it."""
        transpose, output = detour.transpose, squeeze.outputs[0]
        what = f"removed: the axes come from '{detour.unsqueeze.outputs[0].name}'"
        reason = self.edit.obstacle(output, transpose.outputs[0])
        if reason is not None:
            self.ctx.refuse(reason, squeeze)
            return
        dims = self._dims(output)
        if self.ctx.allow(what, squeeze):
            moved = transpose.outputs[0]
            respell(self.edit, transpose, "Transpose", [detour.unsqueeze.inputs[0]], {"perm": detour.perm})
            moved.shape = output.shape
            if dims is not None:
                self.moved[moved] = dims
            self.edit.replace_all_uses(output, moved)
            self.edit.remove(squeeze)
            self.edit.remove(detour.unsqueeze)

    def _rewrite(self, region: Region, node: ir.Node, plan: Plan) -> None:
        first = region.entry
        if not self.ctx.allow(f"became {plan.op}, merged with the {first.op} of '{first.outputs[0].name}'", node):
            return
        source = node.inputs[0] if region.nodes else first.inputs[0]
        self._move(region)
        if plan.ints is None:
            self.edit.replace_input(node, 0, source)
        else:
            self._respell(node, source, plan, plan.ints)
        remove_unread(self.edit, first)

    def _respell(self, node: ir.Node, source: ir.Tensor, plan: Plan, values: list[int]) -> None:
        role = "shape" if plan.op == "Reshape" else "axes"
        if not spelled(plan, self.opsets[node]):
            respell(self.edit, node, plan.op, [source], {role: values})
            return
        respell(self.edit, node, plan.op, [source, int64s(self.edit, node, role, values)], {})

    def _move(self, region: Region) -> None:
        """Let the elementwise nodes behind a node stand before it."""
        root = region.entry.inputs[0]
        for moved in region.nodes:
            for index, tensor in enumerate(moved.inputs):
                if tensor is region.entry.outputs[0]:
                    self.edit.replace_input(moved, index, root)
            output = moved.outputs[0]
            if output.shape is not None:
                output.shape = None if root.shape is None else list(root.shape)
            self.moved[output] = self._dims(root)

    def _makes_mask(self, first: ir.Node, second: ir.Node) -> bool:
        """Whether two Unsqueezes may make an attention mask: of two dimensions, cast or subtracted from 1 then."""
        if not self.ctx.dialect.keeps("attention"):
            return False
        dims = self._dims(first.inputs[0])
        readers = second.outputs[0].outputs
        return (dims is None or len(dims) == 2) and any(reader.is_op("Cast", "Sub", "Mul") for reader in readers)


_MASK_AXES = [1, 2]
"""onnxruntime's attention fusion looks for a mask [batch, sequence] that becomes [batch, 1, 1, sequence] so."""
