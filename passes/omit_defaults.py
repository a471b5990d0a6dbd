"""`omit-defaults`: optional inputs that say what an operator takes without them are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.values import Array
from onnxopt.pipeline.base import Context, Pass

_STATES = {"GRU": {5: "initial_h"}, "LSTM": {5: "initial_h", 6: "initial_c"}, "RNN": {5: "initial_h"}}
"""Inputs that are "assumed to be 0" if not specified (operator specification)."""
_ARRANGING = (
    "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
)  # fmt: skip
"""Operators of which each output has elements of the first input, or of all inputs of Concat, and nothing else."""
_MOST = 32
"""Tensors between a state and its zeros."""


@dataclass(frozen=True)
class OmitDefaults(Pass):
    """Leave out the initial states of an LSTM, GRU or RNN that are zeros, which they are if nobody gives any.

    Exporters write them as a ConstantOfShape of the batch, a Slice or an Expand of it; with the last reader gone that
    is dead. A zero has to be a constant, or a ConstantOfShape, that Reshape, Slice, Concat and the like arrange; none
    of them is computed, whatever its shape. -0.0 counts as another number, and what the caller may override is not
    known. In every scope, functions included.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        found = [node for node in ir.every_node(graph) if node.op in _STATES and node.is_standard]
        if not found:
            return False
        with ir.edit(graph) as edit:
            for node in found:
                _omit_states(edit, node, ctx)
        return edit.changed


def _omit_states(edit: ir.Edit, node: ir.Node, ctx: Context) -> None:
    omitted = False
    for index, role in _STATES[node.op].items():
        state = node.inputs[index] if index < len(node.inputs) else None
        if state is None or not state.name:
            continue
        if isinstance(state, ir.Variable) and state.default is not None:
            ctx.refuse(f"{role} '{state.name}' may be overridden by the caller", node)
        elif _is_zeros(state) and ctx.allow(f"leave out {role}, which is zeros without it too", node):
            edit.replace_input(node, index, ir.Variable.empty())
            ctx.count("initial states")
            omitted = True
    while omitted and not node.inputs[-1].name:
        node.inputs.pop()


def _is_zeros(tensor: ir.Tensor) -> bool:
    """Whether all elements of a tensor are certainly 0, and not -0."""
    pending, seen = [tensor], set[ir.Tensor]()
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.add(one)
        value, node = known_value(one), one.producer
        if value is not None:
            if not _is_zero(value):
                return False
        elif node is None or not node.is_standard or len(seen) > _MOST:
            return False
        elif node.op == "ConstantOfShape":
            fill = node.attrs.get("value")
            if fill is not None and not (isinstance(fill, ir.Constant) and _is_zero(fill.read())):
                return False
        elif node.op in _ARRANGING and node.inputs:
            pending += node.inputs if node.op == "Concat" else node.inputs[:1]
        else:
            return False
    return True


def _is_zero(value: Array) -> bool:
    return not value.any() and not np.signbit(value).any()
