"""`eliminate-zero-addends`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.identities.facts import Facts, kept_by
from onnxopt.rules.identities.zero_signs import ZeroSigns

_SINCE = 7
"""The first opset that broadcasts as numpy does."""


@dataclass(frozen=True)
class EliminateZeroAddends(Pass):
    """Remove Adds of nothing but floating-point zeros, as biases are that were never trained.

    x + 0.0 is x, but for the sign of a zero: -0.0 becomes 0.0. So it stays where that sign could be seen later on: it
    can where something is divided by the tensor, or by what is made of it, and, to be safe, where it goes into a
    subgraph, a function or an operator of another domain. Outputs of the model that are zero may change their sign.
    (x + -0.0, which is x bit for bit, and integers are `eliminate-identities`' business.)

    Shapes have to be certain. In the main graph; subgraphs and functions, whose results this pass does not follow,
    are left as they are. An Add that names an output of the model goes only if the node before can take over the name.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("Add",)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        found = (
            [(node, index) for node in graph.nodes for index in _zero_operand(node)] if graph.opset >= _SINCE else []
        )
        if not found:
            return False
        signs = ZeroSigns(graph)
        with ir.edit(graph) as edit:
            facts = Facts(edit, ctx.analysis(ProvenShapes, graph), Purity(graph), graph.opset, typed=True)
            for node, index in found:
                if not edit.was_removed(node):
                    self._eliminate(node, index, facts, signs, ctx)
        return edit.changed

    def _eliminate(self, node: ir.Node, index: int, facts: Facts, signs: ZeroSigns, ctx: Context) -> None:
        kept, output = node.inputs[1 - index], node.outputs[0]
        zeros = known_value(node.inputs[index])
        if zeros is None or not facts.knows(node):
            return
        verdict = kept_by(node, facts, 1 - index, zeros.shape)
        if verdict is None:
            return
        reason = verdict if isinstance(verdict, str) else facts.edit.obstacle(output, kept)
        if reason is None and signs.seen(output):
            reason = "the sign of a zero may be seen behind it"
        if reason is not None:
            ctx.refuse(reason, node)
        elif ctx.allow(f"removed: it adds zeros to '{kept.name}'", node):
            facts.edit.replace_all_uses(output, kept)
            facts.edit.remove(node)


def _zero_operand(node: ir.Node) -> list[int]:
    """The operand of an Add that is 0.0 throughout, at most one."""
    if not node.is_op("Add") or len(node.inputs) != 2:
        return []
    for index in (1, 0):
        value = known_value(node.inputs[index])
        if value is not None and value.size and value.dtype.kind not in "iub" and not np.any(value):
            return [index]
    return []
