"""MatMul, Add and Transpose upon matrices as one Gemm."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor, Variable
from onnxopt.linear.match import (
    Gate,
    NoMatch,
    attribute,
    constant_of,
    in_scope,
    is_float,
    is_given,
    label,
    remove,
    required_constant,
)
from onnxopt.linear.setting import Setting

_BROADCASTS_FROM = 7
_BIAS_OPTIONAL_FROM = 11


def add_as_bias(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> Node | None:
    """Make a MatMul of matrices, or a Gemm without a bias, and the Add of a constant that follows it one Gemm.

    The Gemm, which is returned, has the name of the MatMul and stands where the Add stood.
    """
    output = node.outputs[0]
    add = edit.sole_reader(output)
    if is_given(node, 2) or add is None or not add.is_op("Add") or len(add.inputs) != 2:
        return None
    bias = add.inputs[1] if add.inputs[0] is output else add.inputs[0]
    if constant_of(bias) is None and not (isinstance(bias, Variable) and bias.default is not None):
        return None
    try:
        if not in_scope(edit, scope, add):
            raise NoMatch(f"'{output.name}' is computed outside the subgraph")
        if scope.opset < _BROADCASTS_FROM:
            raise NoMatch(f"opset {scope.opset} broadcasts by attributes; convert the model to opset 7 or later")
        if node.is_op("MatMul"):
            _require_gemm(node, setting)
        _require_fitting(required_constant(bias, "bias"), node, setting)
    except NoMatch as no:
        gate.refuse(f"not made the bias of {label(node)}: {no}", add)
        return None
    if not gate.allow(f"make {label(node)} and Add one Gemm", add):
        return None
    attributes = {name: value for name, value in node.attrs.items() if name != "beta"}
    result = add.outputs[0]
    add.outputs.clear()
    gemm = Node("Gemm", node.name, attributes, [*node.inputs[:2], bias], [result])
    edit.insert_before(add, gemm)
    remove(edit, add)
    remove(edit, node)
    return gemm


def transposes_as_gemm(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> bool:
    """Make a MatMul of matrices, one of which is transposed for it alone, a Gemm; return whether it did."""
    transposed = [tensor for tensor in node.inputs if _is_transposed_for(edit, node, tensor)]
    if not transposed:
        return False
    transpose = transposed[0].producer
    try:
        if scope.opset < _BIAS_OPTIONAL_FROM:
            raise NoMatch(f"Gemm needs a bias in opset {scope.opset}")
        if not any(is_float(tensor.dtype) for tensor in (*node.inputs, *node.outputs)):
            raise NoMatch("its data are not known to be floating-point")
        _require_gemm(node, setting)
    except NoMatch as no:
        gate.refuse(f"not folded into {label(node)}: {no}", transpose)
        return False
    if not gate.allow("make MatMul of a transposed matrix a Gemm", node):
        return False
    node.op = "Gemm"
    for index, tensor in enumerate(list(node.inputs)):
        if tensor in transposed:
            _flip(edit, node, index)
    return True


def transpose_as_flag(edit: Edit, node: Node, gate: Gate) -> int:
    """Let a Gemm transpose by its flags what is transposed for it alone; return how many Transposes that saves."""
    saved = 0
    for index in (0, 1):
        while (transpose := node.inputs[index].producer) is not None and transpose.is_op("Transpose"):
            tensor = node.inputs[index]
            if not _is_transposed_for(edit, node, tensor):
                gate.refuse(f"not made a flag of {label(node)}: '{tensor.name}' is read elsewhere too", transpose)
                break
            if isinstance(node.attr(_FLAGS[index], 0), Node.AttributeRef):
                gate.refuse(f"{_FLAGS[index]} of {label(node)} is set by the caller of the function", transpose)
                break
            if not gate.allow(f"make Transpose {_FLAGS[index]} of {label(node)}", transpose):
                break
            _flip(edit, node, index)
            saved += 1
    return saved


_FLAGS = ("transA", "transB")


def _is_transposed_for(edit: Edit, node: Node, tensor: Tensor) -> bool:
    """Whether a matrix comes from a Transpose that only this node reads."""
    transpose = tensor.producer
    return (
        transpose is not None
        and transpose.is_op("Transpose")
        and transpose.attr("perm", [1, 0]) == [1, 0]
        and edit.sole_reader(tensor) is node
    )


def _flip(edit: Edit, node: Node, index: int) -> None:
    transpose = node.inputs[index].producer
    assert transpose is not None
    turned = not node.attrs.pop(_FLAGS[index], 0)
    if turned:
        node.attrs[_FLAGS[index]] = 1
    edit.replace_input(node, index, transpose.inputs[0])
    remove(edit, transpose)


def _require_gemm(node: Node, setting: Setting) -> None:
    """Refuse a MatMul that is no Gemm for this target.

    Raises:
        NoMatch: Says why.
    """
    for tensor in node.inputs:
        if obstacle := setting.gemm_obstacle(tensor):
            raise NoMatch(obstacle)


def _require_fitting(bias: Tensor, node: Node, setting: Setting) -> None:
    """Refuse a bias that does not broadcast to the matrix, or broadcasts the matrix to something larger.

    Raises:
        NoMatch: Names the shapes.
    """
    rows, columns = _matrix_shape(node, setting)
    shape = tuple(bias.shape or ())
    padded = (1,) * (2 - len(shape)) + shape
    if len(shape) > 2 or padded[0] not in (1, rows) or padded[1] not in (1, columns):
        known = f"[{'?' if rows is None else rows}, {'?' if columns is None else columns}]"
        raise NoMatch(f"'{bias.name}' of shape {list(shape)} does not broadcast to a matrix {known}")


def _matrix_shape(node: Node, setting: Setting) -> tuple[int | None, int | None]:
    left, right = (setting.shape(tensor) for tensor in node.inputs[:2])
    flags = [node.op == "Gemm" and attribute(node, flag, 0) != 0 for flag in _FLAGS]
    rows = None if left is None or len(left) != 2 else left[flags[0]]
    columns = None if right is None or len(right) != 2 else right[not flags[1]]
    return rows, columns
