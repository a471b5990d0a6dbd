"""`fuse-depthwise`: depthwise convolutions found, freed of what surrounds them, and merged where that pays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.affine import data_input, is_depthwise_scale, looks_affine
from onnxopt.linear.channel_scale import scale_as_depthwise
from onnxopt.linear.cost import ConvCosts, conv_costs
from onnxopt.linear.fold_affine import fold_after, fold_before
from onnxopt.linear.fold_pad import fold_pad
from onnxopt.linear.geometry import is_depthwise
from onnxopt.linear.layer import is_layer
from onnxopt.linear.match import constant_of
from onnxopt.linear.merge import merge_with_next
from onnxopt.linear.regroup import regroup
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves


@dataclass(frozen=True)
class FuseDepthwise(Pass):
    """Recognise depthwise convolutions, fold into them what surrounds them, merge them with 1x1 ones where that pays.

    1. A Split or Slices along the channels, a Conv on each piece and a Concat become one grouped Conv. Two or more
       per-channel Mul, Add, Sub, Div or BatchNormalization in a row that stand alone become one 1x1 depthwise Conv;
       one alone costs less as it is. (After `fuse-conv-bn` none is left: it makes them one BatchNormalization, which
       costs no MACs.)
    2. A zero Pad before a depthwise Conv becomes its padding; BatchNormalization and per-channel arithmetic after it,
       and before it where it does not pad, become part of its weights and bias. What stands between a 1x1 Conv and a
       depthwise one goes into the 1x1; a 1x1 depthwise Conv goes into the layer next to it.
    3. A depthwise Conv and a 1x1 Conv next to each other become one dense Conv; see `merge`.

    Conv with constant weights only; where shapes are needed and not known, the refusal says so. Works in subgraphs and
    in local functions. The statistics give MACs and parameters of all convolutions (and of the per-channel operations
    that may go into them) before and after, and what the depthwise ones would cost if they were dense.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    merge: Literal["auto", "always", "never"] = "auto"
    """Merge a depthwise Conv with a 1x1 next to it: `auto` where neither multiply-accumulates grow nor bytes (weights,
    and the tensor between written and read once, where its size is known); `always` where it is exact; `never`."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Rewrite in every scope until nothing more matches: a merge may bring the next pair together."""
        before = conv_costs(graph) if any(map(_is_or_becomes_depthwise, ir.every_node(graph))) else None
        gate, changed = _Gate(ctx), False
        while self._sweep(graph, gate):
            gate.refusals.clear()
            ctx.forget()
            changed = True
        gate.pass_on()
        if before is not None:
            _report(ctx, before, conv_costs(graph) if changed else before)
        return changed

    def _sweep(self, graph: ir.Graph, gate: _Gate) -> bool:
        scopes = list(ir.every_graph(graph))
        setting = Setting(gate.ctx.analysis(ProvenShapes, graph), gate.ctx.dialect)
        with ir.edit(graph) as edit:
            for scope, node in _live(scopes, edit):
                if node.is_op("Concat"):
                    regroup(edit, scope, node, gate, setting)
            for scope, node in _live(scopes, edit):
                if is_depthwise(node):
                    _fold_surroundings(edit, scope, node, gate, setting)
            for scope, node in _live(scopes, edit):
                if node.is_op("Conv") and self.merge != "never":
                    merge_with_next(edit, scope, node, gate, self.merge, setting)
            for scope, node in _live(scopes, edit):
                scale_as_depthwise(edit, scope, node, gate, setting)
        return edit.changed


class _Gate:
    """The pass's context, where a refusal counts that still stands after the last sweep, and once."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.refusals: dict[tuple[str, ir.Node | str], None] = {}

    def allow(self, what: str, node: ir.Node | str = "") -> bool:
        return self.ctx.allow(what, node)

    def refuse(self, reason: str, node: ir.Node | str) -> None:
        self.refusals[reason, node] = None

    def pass_on(self) -> None:
        for reason, node in self.refusals:
            self.ctx.refuse(reason, node)


def _is_or_becomes_depthwise(node: ir.Node) -> bool:
    """Whether the costs, which ask for all shapes, are worth their time: else there is nothing to state."""
    if node.is_op("Concat") and node.inputs:
        first = node.inputs[0].producer
        return first is not None and first.is_op("Conv")
    return is_depthwise(node)


def _live(scopes: list[ir.Graph], edit: ir.Edit) -> Iterator[tuple[ir.Graph, ir.Node]]:
    for scope in scopes:
        for node in scope.nodes:
            if not edit.was_removed(node):
                yield scope, node


def _fold_surroundings(edit: ir.Edit, scope: ir.Graph, node: ir.Node, gate: _Gate, setting: Setting) -> None:
    """Fold round one depthwise Conv until nothing more fits; it may itself go into a layer next to it."""
    is_scale = is_depthwise_scale(node)
    before = _layer_before(node)
    if before is not None and (is_scale or _is_pointwise(before)):
        fold_after(edit, scope, before, gate, setting)
    after = None if edit.was_removed(node) else edit.sole_reader(node.outputs[0])
    if is_scale and after is not None and is_layer(after):
        fold_before(edit, scope, after, gate, setting)
    if edit.was_removed(node):
        return
    while _fold_pad(edit, scope, node, gate) + fold_before(edit, scope, node, gate, setting):
        pass
    fold_after(edit, scope, node, gate, setting)


def _fold_pad(edit: ir.Edit, scope: ir.Graph, node: ir.Node, gate: _Gate) -> int:
    pad = node.inputs[0].producer
    return 0 if pad is None else fold_pad(edit, scope, pad, gate)


def _layer_before(node: ir.Node) -> ir.Node | None:
    """The layer that a depthwise Conv's data come from, perhaps through per-channel operations."""
    above: ir.Node | None = node.inputs[0].producer
    while above is not None and not is_layer(above):
        data = data_input(above)
        if data is None or not looks_affine(above, data) or len(above.outputs[0].outputs) != 1:
            return None
        above = data.producer
    return above


def _is_pointwise(node: ir.Node) -> bool:
    weight = constant_of(node.inputs[1]) if node.is_op("Conv") else None
    return weight is not None and set(weight.shape[2:]) == {1}


def _report(ctx: Context, before: ConvCosts, after: ConvCosts) -> None:
    """State the figures: before the first run of the pass in a pipeline, and after the last."""
    if not (before.depthwise or after.depthwise or before != after):
        return
    for what, figure in (("MACs before", before.macs), ("parameters before", before.parameters)):
        if f"{ctx.current}: {what}" not in ctx.statistics:
            ctx.count(what, figure)
    for what, figure in (
        ("MACs after", after.macs),
        ("parameters after", after.parameters),
        ("depthwise convolutions", after.depthwise),
        ("depthwise MACs", after.depthwise_macs),
        ("dense MACs", after.dense_macs),
        ("dense parameters", after.dense_parameters),
        ("convolutions of unknown size, not in the MACs", after.uncounted),
    ):
        if change := figure - ctx.statistics[f"{ctx.current}: {what}"]:
            ctx.count(what, change)
