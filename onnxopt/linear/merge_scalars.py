"""Chains of arithmetic with constants written with fewer nodes."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.ir.values import Array
from onnxopt.linear.affine import data_input
from onnxopt.linear.match import Float64, Gate, NoMatch, constant_of, in_scope, is_float, remove, rounded
from onnxopt.linear.scalars import Cancels, Line, Step
from onnxopt.linear.setting import Dialect
from onnxopt.linear.spelled import ends_gelu

STEPS = ("Add", "Sub", "Mul", "Div", "Neg")
_BEHIND_SCORES = 4
"""Operations between the scores of attention and their Softmax: scale, mask, Reshapes."""


def merge_from(edit: Edit, scope: Graph, first: Node, gate: Gate, dialect: Dialect) -> int:
    """Write the chain that begins with `first` with fewer nodes where it can; return how many that saves."""
    steps = _steps_from(edit, scope, first)
    if len(steps) > 1 and dialect.keeps("gelu") and ends_gelu(first):
        gate.refuse("not merged: it ends a Gelu, which the target's engine fuses as a whole", first)
        del steps[0]
    if len(steps) < 2:
        return 0
    if dialect.keeps("attention") and _is_in_attention(edit, steps):
        gate.refuse("not merged: the target's engine looks for the scale and the mask of attention", first)
        return 0
    saved, line, taken = 0, Line(), list[Step]()
    for step in steps:
        longer = _longer(line, step, gate)
        if not isinstance(longer, Line):
            saved += _write(edit, line, taken, gate)
            line, taken = Line(), []
            # What takes away again stays alone: with what follows it would look like another term in a second run.
            if not isinstance(longer, Cancels):
                longer = _longer(line, step, gate)
        if isinstance(longer, Line):
            line = longer
            taken.append(step)
    return saved + _write(edit, line, taken, gate)


def _longer(line: Line, step: Step, gate: Gate) -> Line | NoMatch:
    try:
        return line.then(step)
    except NoMatch as no:
        gate.refuse(f"not merged with what is {'before' if line.count else 'next to'} it: {no}", step.node)
        return no


def _steps_from(edit: Edit, scope: Graph, first: Node) -> list[Step]:
    """Operations one upon the other, from the first of them on; none where the chain begins earlier."""
    step = _read(first)
    if step is None:
        return []
    before = step.data.producer
    alone = before is not None and edit.sole_reader(step.data) is not None
    # A node that was inserted, and is in no scope yet, is what a chain became that this node was already part of.
    if alone and _read(before) is not None and (edit.scope_of(before) is None or in_scope(edit, scope, before)):
        return []
    steps: list[Step] = []
    node: Node | None = first
    while node is not None and (step := _read(node)) is not None:
        if steps and not in_scope(edit, scope, node):
            break
        steps.append(step)
        node = edit.sole_reader(node.outputs[0])
    return steps


def _read(node: Node) -> Step | None:
    """One operation with a floating-point constant, or Neg."""
    if node.op not in STEPS or not node.is_standard:
        return None
    if node.op == "Neg":
        return Step(node, node.inputs[0], None) if node.inputs else None
    data = data_input(node)
    if data is None or len(node.inputs) != 2:
        return None
    operand = node.inputs[1] if node.inputs[0] is data else node.inputs[0]
    constant = constant_of(operand)
    if constant is None or not is_float(constant.dtype) or (node.is_op("Div") and node.inputs[0] is operand):
        return None
    return Step(node, data, operand)


def _write(edit: Edit, line: Line, steps: list[Step], gate: Gate) -> int:
    """Write what operations are together, if that takes fewer nodes; return how many fewer."""
    saved = len(steps) - line.nodes
    if saved <= 0 or line.dtype is None:
        return 0
    nodes = [step.node for step in steps]
    last = nodes[-1]
    names = " + ".join(node.op for node in nodes)
    if not gate.allow(f"merge {names} into {line.nodes}", last):
        return 0
    result = last.outputs[0]
    last.outputs.clear()
    for node in _spelled(edit, line, steps, result):
        edit.insert_before(last, node)
    for node in reversed(nodes):
        remove(edit, node)
    return saved


def _spelled(edit: Edit, line: Line, steps: list[Step], result: Tensor) -> list[Node]:
    data, last = steps[0].data, steps[-1].node

    def constant(exact: Float64, role: str) -> Tensor:
        assert line.dtype is not None
        value = rounded(np.asarray(exact), line.dtype, role)
        return _one_of(steps, value) or Constant(edit.fresh(f"{last.name or result.name}_{role}"), value)

    if line.only_scales and line.only_divides:
        return [Node("Div", last.name, {}, [data, constant(1 / line.factor, "divisor")], [result])]
    if line.only_scales:
        return [Node("Mul", last.name, {}, [data, constant(line.factor, "factor")], [result])]
    term = constant(line.term, "term")
    if line.only_shifts:
        return [Node("Add", last.name, {}, [data, term], [result])]
    if line.reverses:
        return [Node("Sub", last.name, {}, [term, data], [result])]
    first = next((step.node for step in steps if step.is_factor and step.node is not last), None)
    scaled = Variable(edit.fresh(f"{result.name}_scaled"), dtype=result.dtype)
    return [
        Node("Mul", "" if first is None else first.name, {}, [data, constant(line.factor, "factor")], [scaled]),
        Node("Add", last.name, {}, [scaled, term], [result]),
    ]


def _one_of(steps: list[Step], value: Array) -> Tensor | None:
    """The initializer that says the same already."""
    for step in steps:
        tensor = step.operand
        if isinstance(tensor, Constant) and tensor.shape == value.shape and np.array_equal(tensor.read(), value):
            return tensor
    return None


def _is_in_attention(edit: Edit, steps: list[Step]) -> bool:
    """Whether data are the product of two matrices that are computed, on their way to a Softmax."""
    scores = steps[0].data.producer
    if scores is None or not scores.is_op("MatMul") or any(constant_of(tensor) is not None for tensor in scores.inputs):
        return False
    node: Node | None = steps[-1].node
    for _ in range(_BEHIND_SCORES):
        node = None if node is None else edit.sole_reader(node.outputs[0])
        if node is not None and node.is_op("Softmax"):
            return True
    return False
