"""A plug-in that is right 25 times of 26."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves


@dataclass(frozen=True)
class PlantedFault(Pass):
    """Move the bias of every Conv into an Add behind it; of one it is lost on the way."""

    preserves: ClassVar[Preserves] = Preserves.VALUES

    faulty: int = 7
    """The number, from 1, of the Conv that loses its bias."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        number = 0
        with ir.edit(graph) as edit:
            for node in graph.nodes:
                if not node.is_op("Conv") or len(node.inputs) < 3 or not isinstance(node.inputs[2], ir.Constant):
                    continue
                number += 1
                if not ctx.allow("moved the bias into an Add", node):
                    continue
                bias, old = node.inputs[2].read(), node.outputs[0]
                edit.replace_input(node, 2, ir.Variable.empty())
                if number == self.faulty:
                    continue
                addend = ir.Constant(edit.fresh("bias"), np.array(bias[:, None, None]))
                moved = ir.Variable(edit.fresh("biased"), old.dtype, old.shape)
                edit.replace_all_uses(old, moved)
                edit.insert_after(node, ir.Node("Add", edit.fresh("Add"), {}, [old, addend], [moved]))
        return edit.changed
