"""What matching has in common: a reason for every near match, and the gate that every rewrite asks."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from onnxopt.ir.dtypes import DType
from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.matching import Gate as Gate
from onnxopt.ir.matching import NoMatch as NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable

Float64 = npt.NDArray[np.float64]

_FLOATS = {np.dtype(kind) for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)}


def constant_of(tensor: Tensor) -> Constant | None:
    """The constant that a tensor is: an initializer, or the value of a Constant node. Nothing is read.

    A graph input with a default value is no constant: the caller may override it.
    """
    if isinstance(tensor, Constant):
        return tensor
    node = tensor.producer
    if node is None or not node.is_op("Constant"):
        return None
    value = node.attr("value")
    if isinstance(value, Constant):
        return value
    scalar = known_value(tensor)
    return None if scalar is None else Constant(tensor.name, scalar)


def required_constant(tensor: Tensor, role: str) -> Constant:
    """The constant of floating-point numbers that an input has to be.

    Raises:
        NoMatch: It is computed at run time, may be overridden by the caller, or holds integers.
    """
    constant = constant_of(tensor)
    if constant is None:
        if isinstance(tensor, Variable) and tensor.default is not None:
            raise NoMatch(f"the {role} '{tensor.name}' may be overridden by the caller")
        raise NoMatch(f"the {role} '{tensor.name}' is not constant")
    if not is_float(constant.dtype):
        raise NoMatch(f"the {role} '{tensor.name}' is {constant.dtype}, not floating-point")
    return constant


def is_float(dtype: DType | None) -> bool:
    """Whether it is one of the types that Conv computes in."""
    return dtype in _FLOATS


def is_given(node: Node, index: int) -> bool:
    """Whether a node has this optional input."""
    return index < len(node.inputs) and not node.inputs[index].is_empty()


def attribute(node: Node, name: str, default: Any) -> Any:
    """An attribute's value.

    Raises:
        NoMatch: It is set by the caller of the function that holds the node.
    """
    value = node.attr(name, default)
    if isinstance(value, Node.AttributeRef):
        raise NoMatch(f"attribute '{name}' is set by the caller of the function")
    return value


def as_float64(constant: Constant) -> Float64:
    """The numbers of a small constant, in double precision."""
    return np.asarray(constant.read(), np.float64)


def rounded(exact: Float64, dtype: DType, what: str) -> npt.NDArray[Any]:
    """Round to the type of the weights.

    Raises:
        NoMatch: Not all are finite in that type.
    """
    with np.errstate(all="ignore"):
        found: npt.NDArray[Any] = exact.astype(dtype)
        if not np.isfinite(found).all():
            raise NoMatch(f"the {what} would not be finite in {dtype}")
    return found


def set_constant(edit: Edit, node: Node, index: int, value: npt.NDArray[Any], role: str) -> None:
    """Let one input of a node be this constant.

    One that nobody else reads is assigned anew under its name; a shared one is left to the others.
    """
    old = node.inputs[index] if index < len(node.inputs) else None
    alone = old is not None and len(old.outputs) == 1 and edit.sole_reader(old) is node
    if alone and isinstance(old, Constant) and old.shape == value.shape:
        old.values = value
        edit.changed = True
        return
    name = edit.fresh(f"{node.name or node.outputs[0].name}_{role}")
    constant = Constant(name, value, export_dtype=old._export_dtype if isinstance(old, Constant) else None)
    if old is None:
        node.inputs.append(constant)
        edit.changed = True
    else:
        edit.replace_input(node, index, constant)
        remove_if_dead(edit, old)


def remove_if_dead(edit: Edit, tensor: Tensor) -> None:
    """Remove the Constant, Split or Slice node that produced a tensor, once nothing reads its outputs."""
    node = tensor.producer
    if node is None or not node.is_op("Constant", "Split", "Slice") or edit.was_removed(node):
        return
    if not any(edit.is_used(output) for output in node.outputs if not output.is_empty()):
        remove(edit, node)


def remove(edit: Edit, node: Node) -> None:
    """Remove a node, and the constants that only it read."""
    inputs = list(node.inputs)
    edit.remove(node)
    for tensor in inputs:
        remove_if_dead(edit, tensor)


def take_output(edit: Edit, node: Node, last: Node) -> None:
    """Let `node` produce what `last` produced, under its name, and remove `last`."""
    output = last.outputs[0]
    last.outputs.clear()
    node.outputs[0] = output
    remove(edit, last)


def label(node: Node) -> str:
    """A node as reasons name it: operator and name, or its output where it has no name."""
    return f"{node.op} '{node.name or node.outputs[0].name}'"


def in_scope(edit: Edit, scope: Graph, node: Node | None) -> bool:
    """Whether a node is in this very graph, not in one around it or in one of its subgraphs."""
    return node is not None and edit.scope_of(node) is scope
