"""`eliminate-identities`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.ir.schema import find_schema
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.rules.identities.facts import Facts
from onnxopt.rules.identities.table import RULES


@dataclass(frozen=True)
class EliminateIdentities(Pass):
    """Remove nodes that give out one of their inputs, bit for bit.

    Identity; Dropout that is not training and whose mask is unread; Cast to the type that it has; Reshape, Expand,
    Transpose, Pad, Slice, Tile, Split, Flatten, Squeeze, Unsqueeze, Gather, Resize that change nothing; Concat, Sum,
    Mean, Max, Min of one input; x + -0.0, x - 0.0, x * 1, x / 1 and the like; Where of a constant condition; ReduceX
    over axes of length 1; Not, Neg twice; Abs, Ceil, Sign of the same; Relu and Clip of what is within their bounds, or
    before narrower ones. x + 0.0 stays: it turns -0.0 into 0.0, and so does a sum over one element.

    In every scope. Where a rule needs a shape, only one counts that follows from the model's inputs and the operators'
    definitions: value infos may be wrong. In a function, which has no such inputs, few shapes are certain and declared
    element types do not count. Constants of over 65,536 elements are not looked at.

    A node that names a graph output goes only if the node before it can take over the name.
    """

    ops: tuple[str, ...] = tuple(RULES)
    """Only nodes of these operators."""

    def __post_init__(self) -> None:
        """Refuse an operator that there is no rule for."""
        for op in self.ops:
            if op not in RULES:
                raise ValueError(f"ops: there is no rule for {op!r}{did_you_mean(op, RULES)}")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = False
        while True:  # a node that goes may bring two others together
            round_ = _Round(graph, frozenset(self.ops), ctx)
            if not round_.run():
                break
            changed = True  # what is known of the tensors that are left still holds
        for node, reason in round_.refused:
            ctx.refuse(reason, node)
        return changed


class _Round:
    """One sweep over all nodes."""

    def __init__(self, graph: ir.Graph, ops: frozenset[str], ctx: Context) -> None:
        self.graph, self.ops, self.ctx = graph, ops, ctx
        self.purity, self.shapes = Purity(graph), ctx.analysis(ProvenShapes, graph)
        self.refused: list[tuple[ir.Node, str]] = []

    def run(self) -> bool:
        with ir.edit(self.graph) as edit:
            for root in (self.graph, *self.graph.functions):
                facts = Facts(edit, self.shapes, self.purity, root.opset, typed=root is self.graph)
                for scope in (root, *root.subgraphs(recursive=True)):
                    for node in scope.nodes:
                        if node.op in self.ops and self._is_whole(node, root.opset):
                            self._eliminate(node, facts)
        return edit.changed

    def _is_whole(self, node: ir.Node, opset: int) -> bool:
        """Whether a node is one of the standard operator of its name, and has what the checker asks for."""
        if not node.is_standard or self.purity.called(node) is not None:
            return False
        schema = find_schema(node.op, None, opset)
        return schema is not None and len(node.inputs) >= schema.min_input and bool(node.outputs)

    def _eliminate(self, node: ir.Node, facts: Facts) -> None:
        verdict = RULES[node.op](node, facts)
        if isinstance(verdict, (int, ir.Tensor)):
            kept = node.inputs[verdict] if isinstance(verdict, int) else verdict
            output = node.outputs[0]
            reason = facts.edit.obstacle(output, kept)
            if reason is None and kept.name and self.ctx.allow(f"removed: it gives out '{kept.name}'", node):
                facts.edit.replace_all_uses(output, kept)
                facts.edit.remove(node)
            verdict = reason
        if verdict is not None:
            self.refused.append((node, verdict))
