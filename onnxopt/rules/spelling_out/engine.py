"""Apply spellings everywhere in a model until none applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

from onnxopt import ir
from onnxopt.ir.dtypes import DType
from onnxopt.ir.edit import detach
from onnxopt.ir.element_types import element_types
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context
from onnxopt.rules.spelling_out.site import Given, Result, Site, Spelling

Table = Mapping[str, Sequence[Spelling]]
_ROUNDS = 8
"""What one spelling makes another may have to say again: SoftmaxCrossEntropyLoss, by its definition, is the longest."""


def spell_out(graph: ir.Graph, table: Table, ctx: Context) -> bool:
    """Say operators otherwise in every scope, by the first spelling of the table that fits; return whether any was.

    A node that a spelling is for and that could not be said otherwise is told to `ctx.refuse`.
    """
    changed = False
    for _ in range(_ROUNDS):
        candidates = _candidates(graph, table)
        if not candidates:
            break
        sweep = _Round(graph, table, ctx)
        if not sweep.run(candidates):
            for node, reason in sweep.refused:
                ctx.refuse(reason, node)
            break
        changed = True
        ctx.forget()
    return changed


def _candidates(graph: ir.Graph, table: Table) -> list[tuple[ir.Node, ir.Graph, ir.Graph]]:
    """Nodes that a spelling may be for, each with its scope and the main graph or function."""
    found = [
        (node, scope, root)
        for root in (graph, *graph.functions)
        for scope in (root, *root.subgraphs(recursive=True))
        for node in scope.nodes
        if node.op in table and node.is_standard and node.inputs and node.outputs
    ]
    purity = Purity(graph) if found else None
    return [each for each in found if purity and purity.called(each[0]) is None]


class _Round:
    def __init__(self, graph: ir.Graph, table: Table, ctx: Context) -> None:
        self.graph, self.table, self.ctx = graph, table, ctx
        self.shapes = ctx.analysis(ProvenShapes, graph)
        self.refused: list[tuple[ir.Node, str]] = []

    @cached_property
    def types(self) -> Mapping[ir.Tensor, DType]:
        """The types of values that declare none."""
        return cast(Mapping[ir.Tensor, DType], element_types(self.graph))

    def run(self, candidates: list[tuple[ir.Node, ir.Graph, ir.Graph]]) -> bool:
        with ir.edit(self.graph) as edit:
            for node, scope, root in candidates:
                self._visit(node, scope, root, edit)
        return edit.changed

    def _visit(self, node: ir.Node, scope: ir.Graph, root: ir.Graph, edit: ir.Edit) -> None:
        reasons: list[str] = []
        for spelling in self.table[node.op]:
            site = Site(node, scope, edit, self.shapes, lambda: self.types, root)
            try:
                if spelling.where is not None and not spelling.where(site):
                    continue
                if scope.opset < spelling.since:
                    raise NoMatch(f"it takes opset {spelling.since}, and this is {scope.opset}: convert-opset may help")
                if node.shell is not None and node.shell.device_configurations:
                    raise NoMatch("it has a device configuration")
                result = spelling.spell(site)
                allowed = self.ctx.allow(spelling.what, node)
            except NoMatch as no:
                detach(site.maker.nodes)
                if str(no):
                    reasons.append(f"not done: {spelling.what}: {no}")
                continue
            if allowed:
                self.ctx.count(spelling.what)
                _put(site, result)
            else:
                detach(site.maker.nodes)
            return
        self.refused += [(node, reason) for reason in reasons[:1]]


def _put(site: Site, result: Result) -> None:
    """Put what was made in the place of the node."""
    node, edit, maker = site.node, site.edit, site.maker
    results = list(result) if isinstance(result, (list, tuple)) else [cast(Given, result)]
    taken: list[tuple[ir.Tensor, ir.Node]] = []
    for index, output in enumerate(list(node.outputs)):
        if not site.used(index):
            continue
        given = results[index] if index < len(results) else None
        assert given is not None, f"{node.label}: nothing takes the place of '{output.name}'"
        if isinstance(given, ir.Tensor) and edit.replace_all_uses(output, given):
            continue
        is_new = isinstance(given, ir.Node) and all(given is not other for _, other in taken)
        maker_of = given if is_new and isinstance(given, ir.Node) else maker.make("Identity", given)
        taken.append((output, maker_of))
    first = taken[0][1] if taken else node
    maker.name_nodes(first)
    for made in maker.nodes:
        made.metadata_props.update(node.metadata_props)
    for output, made in taken:
        _give_out(made, output, maker.nodes, node)
    if taken:
        first.name, first.doc_string = node.name, node.doc_string
    edit.insert_before(node, *_alive(maker.nodes, edit))
    edit.remove(node)


def _alive(made: Sequence[ir.Node], edit: ir.Edit) -> list[ir.Node]:
    """Those of the new nodes, in their order, of which anything is used."""
    kept: list[ir.Node] = []
    for node in reversed(made):
        if any(edit.is_used(tensor) for tensor in node.outputs):
            kept.append(node)
        else:
            detach([node])
    return kept[::-1]


def _give_out(made: ir.Node, output: ir.Tensor, others: Sequence[ir.Node], node: ir.Node) -> None:
    """Let a new node give out the very tensor that the old one gave out."""
    position = next(index for index, tensor in enumerate(node.outputs) if tensor is output)
    node.outputs.pop(position)
    if not made.outputs:
        made.outputs.append(output)
        return
    inner = made.outputs[0]
    made.outputs[0] = output
    for other in others:
        for index, tensor in enumerate(other.inputs):
            if tensor is inner:
                other.inputs[index] = output
