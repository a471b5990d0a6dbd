"""Pow by a constant that a simpler operator computes."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Variable
from onnxopt.linear.match import Gate, is_float, remove, remove_if_dead
from onnxopt.linear.sign import is_nonnegative


def simplify_power(edit: Edit, node: Node, gate: Gate) -> bool:
    """x**1 is x; x**0.5 is the square root where x is not negative (of -inf the one is inf, the other NaN).

    x**2 stays: engines compute it as x x, and look for it in the norms that they fuse.
    """
    if len(node.inputs) != 2 or (exponent := known_value(node.inputs[1], limit=1)) is None or exponent.ndim:
        return False  # an exponent with axes may give the result more of them
    data, power = node.inputs[0], float(exponent)
    if power == 1:
        if obstacle := edit.obstacle(node.outputs[0], data):
            gate.refuse(f"the power 1 stays: {obstacle}", node)
            return False
        if not gate.allow("drop the power 1", node):
            return False
        edit.replace_all_uses(node.outputs[0], data)
        remove(edit, node)
        return True
    if power != 0.5 or not (isinstance(data, Variable) and is_float(data.dtype)):
        return False
    if not is_nonnegative(data):
        gate.refuse(f"not made a Sqrt: '{data.name}' may be negative", node)
        return False
    if not gate.allow("make the power 0.5 a Sqrt", node):
        return False
    old = node.inputs[1]
    node.op = "Sqrt"
    edit.replace_input(node, 1, Variable.empty())
    del node.inputs[1]
    remove_if_dead(edit, old)
    return True
