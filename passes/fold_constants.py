"""`fold-constants`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from onnx import TensorProto

from onnxopt import ir
from onnxopt.folding.candidates import find, shape_questions, takes_initializers
from onnxopt.folding.constant_nodes import detach, make_initializers, to_initializer
from onnxopt.folding.evaluation import Evaluation
from onnxopt.folding.facts import Facts
from onnxopt.folding.flattening import Flattening
from onnxopt.folding.growth import Growth, frontier
from onnxopt.folding.proven_shapes import answer
from onnxopt.folding.sizing import Sizing
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.schema import find_schema
from onnxopt.pipeline.base import Context, Pass, describe

_MEMORY = 128 << 20
"""Bytes of computed values that are held at one time; what does not fit waits for the next round."""


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Compute what depends on constants alone, and make `Constant` nodes initializers.

    In the main graph, in subgraphs and in functions (which have no initializers: their constants stay Constant
    nodes). Values are computed by onnxruntime with its optimizations off, hundreds of nodes a session, so that they
    are the bits that the model would compute itself; what onnxruntime has no kernel for stays. (A float16 constant
    is rounded, as ONNX says; onnxruntime may leave that out between two operators that it computes in float32.)
    `Shape` and `Size` of a value are folded when all its dimensions follow from the model's inputs and operators;
    other declarations may be stale and do not count.

    Never folded: random operators and a Dropout that may be training; QuantizeLinear and DequantizeLinear, which would
    take the quantization out of the model; If, Loop and Scan as a whole; operators of other domains than ONNX's; what
    reads an input whose default the caller may override; results whose size is not known before they are computed;
    strings; sequences.
    """

    max_bytes: int = 16 << 20
    """The largest tensor to read or to make, in bytes. Nothing larger is computed, not even on the way."""
    max_growth: int = 1024
    """Bytes by which each result may exceed the constants that go with its nodes. Raise it to let the file grow."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = ir.sort(graph)
        changed |= make_initializers(graph, lambda node: _allow(node, ctx), ctx.refuse)
        if changed:
            ctx.forget()
        failed: dict[ir.Node, str] = {}
        while True:
            attempt = _Attempt(self, graph, ctx, failed)
            if not attempt.run():
                break
            ctx.forget()
            changed = True
        attempt.explain()
        return changed


def _allow(node: ir.Node, ctx: Context) -> bool:
    if not ctx.allow("Constant node made an initializer", node):
        return False
    ctx.count("Constant nodes made initializers")
    return True


class _Attempt:
    """One round: what can be computed is found, sized, weighed, computed and put into the model.

    A round may make more possible for the next: a shape that follows now, a constant that nothing else reads any more.
    """

    def __init__(self, options: FoldConstants, graph: ir.Graph, ctx: Context, failed: dict[ir.Node, str]) -> None:
        self.options, self.graph, self.ctx, self.failed = options, graph, ctx, failed
        self.facts = Facts()
        answer(shape_questions(graph, failed.keys()), graph, ctx.analysis(ProvenShapes, graph), self.facts)
        self.candidates = find(graph, self.facts, failed.keys())
        self.refused = self.candidates.refused
        self.evaluation = Evaluation(self.facts, Flattening(), self.candidates.scope_of, _MEMORY, self._progress)
        self.outputs = {tensor for scope in ir.every_graph(graph) for tensor in scope.outputs}

    def run(self) -> bool:
        """Return whether anything was folded."""
        sizing = Sizing(self.candidates, self.evaluation, self.options.max_bytes)
        sizing.run()
        self._note_failures(sizing.invalid)
        nodes = [node for node in self.candidates.nodes if node in sizing.settled and self._is_writable(node)]
        nodes = self._allowed(self._choose(nodes))
        with ir.edit(self.graph) as edit:
            read = dict.fromkeys(tensor for node in nodes for tensor in node.inputs if tensor in self.facts.leaves)
            for node in reversed(nodes):
                self._replace(node, edit)
            for tensor in read:
                if not edit.is_used(tensor):
                    edit.remove(tensor.producer)
        if self.evaluation.sessions:
            self.ctx.count("onnxruntime sessions", self.evaluation.sessions)
        return edit.changed

    def explain(self) -> None:
        """Record why what could have been folded was not."""
        for node, reason in (self.refused | self.failed).items():
            self.ctx.refuse(reason, node)

    def _choose(self, nodes: list[ir.Node]) -> list[ir.Node]:
        """Those that go, with the values that they leave computed. A node that fails stays, as does what needs it."""
        while True:
            growth = Growth(nodes, self.facts, self.outputs, self.options.max_growth)
            growth.settle()
            self._compute(nodes, growth.gone)
            lost = self._lost(nodes)
            if not lost:
                self.refused.update(growth.refused)
                return [node for node in nodes if node in growth.gone]
            nodes = [node for node in nodes if node not in lost]

    def _compute(self, nodes: list[ir.Node], gone: Set[ir.Node]) -> None:
        left = [tensor for node in nodes if node in gone for tensor in frontier(node, gone, self.outputs)]
        self.evaluation.compute(left)

    def _lost(self, nodes: list[ir.Node]) -> set[ir.Node]:
        """Nodes whose values cannot be had."""
        self._note_failures(self.evaluation.failed)
        too_large = f"computing it takes more than {_MEMORY >> 20} MiB"
        self.refused.update(dict.fromkeys(self.evaluation.too_large, too_large))
        lost: set[ir.Node] = self.evaluation.failed.keys() | self.evaluation.too_large
        for node in nodes:
            if any(tensor.producer in lost and not self.facts.is_valued(tensor) for tensor in node.inputs):
                lost.add(node)
        return {node for node in nodes if node in lost}

    def _note_failures(self, failed: Mapping[ir.Node, str]) -> None:
        by_reason: dict[str, list[ir.Node]] = {}
        for node, reason in failed.items():
            if node not in self.failed:
                by_reason.setdefault(reason, []).append(node)
        for reason, nodes in by_reason.items():
            more = f" and {len(nodes) - 1} nodes like it stay" if len(nodes) > 1 else " stays"
            self.ctx.warn(f"{describe(nodes[0])}{more}, since computing failed: {reason}")
        self.failed.update(failed)

    def _allowed(self, nodes: list[ir.Node]) -> list[ir.Node]:
        """Those that may go; what reads a node that has to stay, stays."""
        kept: set[ir.Node] = set()
        for node in nodes:
            if any(tensor.producer in kept for tensor in node.inputs) or not self.ctx.allow("computed", node):
                kept.add(node)
        if kept:  # other values are left in the model than those computed so far
            nodes = [node for node in nodes if node not in kept]
            self._compute(nodes, set(nodes))
        return nodes

    def _replace(self, node: ir.Node, edit: ir.Edit) -> None:
        used = [tensor for tensor in node.outputs if tensor.name and edit.is_used(tensor)]
        if not all(self.facts.is_valued(tensor) for tensor in used):
            return
        for tensor in used:
            value = self.facts.read(tensor)
            detach(tensor, edit)
            if edit.is_output(tensor) or not takes_initializers(self.candidates.scope_of[node], self.graph):
                attrs = {"value": ir.Constant("", value)}
                edit.insert_before(node, ir.Node("Constant", node.name, attrs, outputs=[tensor]))
            else:
                to_initializer(tensor, value, self.graph)
        edit.remove(node)
        self.ctx.count("nodes folded")
        self.ctx.count("constants made", len(used))
        self.ctx.count("bytes of constants made", sum(self.facts.nbytes(tensor) for tensor in used))

    def _is_writable(self, node: ir.Node) -> bool:
        """Whether Constant, in the opset of the node, has the types of the outputs that have to be made by a node."""
        scope = self.candidates.scope_of[node]
        schema = find_schema("Constant", "", scope.opset)
        for tensor in node.outputs if scope is not self.graph else self.outputs.intersection(node.outputs):
            known = self.facts.type(tensor) if tensor.name else None
            if known is not None and schema is not None:
                kind = TensorProto.DataType.Name(known.tensor_type.elem_type).lower()
                if f"tensor({kind})" not in schema.outputs[0].types:
                    self.refused[node] = f"Constant has no type {kind} in the opset of the model"
                    return False
        return True

    def _progress(self, batches: list[list[ir.Node]]) -> Iterable[list[ir.Node]]:
        return self.ctx.progress(batches, "computing constants", len(batches))
