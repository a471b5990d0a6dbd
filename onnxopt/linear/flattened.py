"""MatMul of a tensor of rank 3 and more with a matrix, as a Gemm of all its rows, where Reshapes stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxopt.folding.candidates import takes_initializers
from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.proven import Dim, ints
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.linear.match import (
    Gate,
    NoMatch,
    attribute,
    constant_of,
    in_scope,
    label,
    remove,
    required_constant,
)
from onnxopt.linear.setting import Setting

_OPSET = 7
"""Since then Gemm broadcasts its bias as Add does."""
_BIAS_OPTIONAL_FROM, _SHAPE_SLICES_FROM = 11, 15
_PASSED_ON = ("Add", "LayerNormalization")
"""What may read the sum of a projection; before an activation, engines look for the Add of the bias itself."""


@dataclass(frozen=True)
class _Product:
    """MatMul, and the Add of a vector that follows it."""

    node: Node
    add: Node
    bias: Tensor
    inner: int
    dims: tuple[int | Dim, ...]
    """Of the result."""


def flatten(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> Node | None:
    """Make MatMul and Add one Gemm where a Reshape before or behind them makes that cost no node.

    x, Reshape, MatMul, Add is x, Reshape to rows, Gemm, Reshape; and so is MatMul, Add, Reshape. A Reshape costs
    nothing, while the Add goes over the whole result. Return the Gemm.
    """
    add = edit.sole_reader(node.outputs[0])
    if scope.opset < _OPSET or add is None or not add.is_op("Add") or not setting.dialect.takes("GemmOfRows"):
        return None
    before, behind = _reshape_before(edit, scope, node), _reshape_behind(edit, add)
    if before is None and behind is None:
        return None
    try:
        _require_initializers(edit, scope)
        product = _read(scope, edit, node, add, setting)
        if product is None:
            return None
        if behind is None:
            _require_passed_on(add.outputs[0])
            target: list[int] | None = _absolute(product.dims, add.outputs[0])
        else:
            target = _target_behind(behind, setting)
    except NoMatch as no:
        gate.refuse(f"not made one Gemm: {no}", node)
        return None
    if not gate.allow(f"make {label(node)} and Add one Gemm of all rows", node):
        return None
    return _write(edit, product, before, behind, target)


def transposed_as_flag(edit: Edit, scope: Graph, node: Node, gate: Gate, setting: Setting) -> Node | None:
    """Make a MatMul with a weight that is transposed at every run one Gemm that reads it as it is.

    Such a Transpose is left where the weight is read elsewhere too, as the embedding that is also a model's last
    layer: the transposed one would be a second copy of it. Return the Gemm.
    """
    transpose = node.inputs[1].producer
    if transpose is None or not transpose.is_op("Transpose") or constant_of(transpose.inputs[0]) is None:
        return None
    try:
        weight = required_constant(transpose.inputs[0], "weight")
        data = setting.shapes.dims(node.inputs[0])
        if len(weight.shape) != 2 or attribute(transpose, "perm", [1, 0]) != [1, 0] or (data and len(data) == 2):
            return None  # of matrices alone another rule makes a Gemm
        if not setting.dialect.takes("GemmOfRows"):
            raise NoMatch("the target does not take a Gemm of rows")
        if scope.opset < _BIAS_OPTIONAL_FROM:
            raise NoMatch(f"Gemm needs a bias in opset {scope.opset}")
        if data is None or len(data) < 3 or data[-1] != weight.shape[1] or min(weight.shape) < 1:
            raise NoMatch(f"the shape of '{node.inputs[0].name}' is not certain")
        if edit.sole_reader(node.inputs[1]) is not node or not in_scope(edit, scope, transpose):
            raise NoMatch(f"'{node.inputs[1].name}' is read elsewhere too")
        reader = edit.sole_reader(node.outputs[0])
        if reader is not None and reader.is_op("Add") and any(constant_of(tensor) for tensor in reader.inputs):
            raise NoMatch("engines look for the Add behind it")
        _require_initializers(edit, scope)
        shape = _computed_shape(edit, scope, node, data[:-1], weight.shape[0])
    except NoMatch as no:
        gate.refuse(f"not made a flag of a Gemm: {no}", transpose)
        return None
    if not gate.allow("make MatMul of a transposed weight a Gemm of all rows", node):
        return None
    rows = _reshape(edit, node, node.inputs[0], _constant(edit, node, [-1, weight.shape[1]]))
    result = _matrix(edit, node, node.outputs[0])
    gemm = Node("Gemm", node.name, {"transB": 1}, [rows.outputs[0], transpose.inputs[0]], [result])
    edit.insert_before(node, rows, *shape.nodes, gemm)
    _finish(edit, node, result, shape.tensor)
    remove(edit, transpose)
    return gemm


def _read(scope: Graph, edit: Edit, node: Node, add: Node, setting: Setting) -> _Product | None:
    """What is to become a Gemm; None where it is of matrices, or plainly has no bias.

    Raises:
        NoMatch: Says what of it is not certain.
    """
    other = add.inputs[1] if add.inputs[0] is node.outputs[0] else add.inputs[0]
    if constant_of(node.inputs[1]) is None or constant_of(other) is None or not in_scope(edit, scope, add):
        return None
    weight, bias = required_constant(node.inputs[1], "weight"), required_constant(other, "bias")
    data = setting.shapes.dims(node.inputs[0])
    if len(weight.shape) != 2 or (data is not None and len(data) < 3):
        return None
    inner, outer = weight.shape
    if data is None or data[-1] != inner or min(inner, outer) < 1:
        raise NoMatch(f"the shape of '{node.inputs[0].name}' is not certain")
    if bias.shape not in ((), (1,), (outer,)) or bias.dtype != weight.dtype:
        raise NoMatch(f"its bias '{other.name}' is not one number a column")
    return _Product(node, add, other, inner, (*data[:-1], outer))


def _reshape_before(edit: Edit, scope: Graph, node: Node) -> Node | None:
    """The Reshape that a MatMul alone reads."""
    tensor = node.inputs[0]
    found = tensor.producer
    if found is None or not found.is_op("Reshape") or edit.sole_reader(tensor) is not node or len(found.inputs) != 2:
        return None
    return found if in_scope(edit, scope, found) else None


def _reshape_behind(edit: Edit, add: Node) -> Node | None:
    reader = edit.sole_reader(add.outputs[0])
    if reader is None or not reader.is_op("Reshape") or len(reader.inputs) != 2:
        return None
    return reader if reader.inputs[0] is add.outputs[0] and edit.scope_of(reader) is edit.scope_of(add) else None


def _require_initializers(edit: Edit, scope: Graph) -> None:
    if not takes_initializers(scope, edit.main):
        raise NoMatch("a subgraph has no initializers before IR version 4")


def _require_passed_on(tensor: Tensor) -> None:
    for reader in tensor.outputs:
        if not reader.is_op(*_PASSED_ON):
            raise NoMatch(f"{label(reader)} reads the sum, and engines may look for its Add")


def _target_behind(reshape: Node, setting: Setting) -> list[int] | None:
    """A target that copies nothing of what is before; None where the Reshape's own is one.

    Raises:
        NoMatch: There is none, or an engine looks for this one.
    """
    written = ints(reshape, 1, "shape")
    if written is None:
        raise NoMatch(f"the target of {label(reshape)} is not constant")
    if 0 not in written:
        return None
    if attribute(reshape, "allowzero", 0):
        raise NoMatch(f"{label(reshape)} makes an empty tensor")
    if setting.dialect.keeps("attention") and written[:2] == [0, 0] and len(written) == 4:
        raise NoMatch(f"{label(reshape)} makes heads, as the attention does that engines fuse")
    dims = setting.shapes.dims(reshape.outputs[0])
    if dims is None:
        raise NoMatch(f"the shape of '{reshape.outputs[0].name}' is not certain")
    return _absolute(dims, reshape.outputs[0])


def _absolute(dims: Sequence[int | Dim], tensor: Tensor) -> list[int]:
    """A target without a copied dimension.

    Raises:
        NoMatch: More than one dimension is no number, or one of the others may be 0.
    """
    if sum(not isinstance(dim, int) for dim in dims) > 1:
        raise NoMatch(f"more than one dimension of '{tensor.name}' is found at run time")
    if any(isinstance(dim, int) and dim < 1 for dim in dims):
        raise NoMatch(f"'{tensor.name}' is empty")
    return [dim if isinstance(dim, int) else -1 for dim in dims]


@dataclass(frozen=True)
class _Shape:
    """A tensor that holds a shape, and the new nodes that compute it."""

    tensor: Tensor
    nodes: tuple[Node, ...] = ()


def _computed_shape(edit: Edit, scope: Graph, node: Node, outer: tuple[int | Dim, ...], columns: int) -> _Shape:
    """A Reshape's target: a constant, or the first dimensions of a MatMul's data and the last number.

    Raises:
        NoMatch: There is none.
    """
    if sum(not isinstance(dim, int) for dim in outer) < 2:
        return _Shape(_constant(edit, node, _absolute((*outer, columns), node.outputs[0])))
    if scope.opset < _SHAPE_SLICES_FROM:
        raise NoMatch(f"Shape gives all dimensions in opset {scope.opset}")
    vector = np.dtype(np.int64)
    first = Variable(edit.fresh(f"{_name(node)}_first"), vector, [len(outer)])
    whole = Variable(edit.fresh(f"{_name(node)}_shape"), vector, [len(outer) + 1])
    shape = Node("Shape", edit.fresh(f"{_name(node)}/Shape"), {"start": 0, "end": -1}, [node.inputs[0]], [first])
    last = _constant(edit, node, [columns])
    concat = Node("Concat", edit.fresh(f"{_name(node)}/Concat"), {"axis": 0}, [first, last], [whole])
    return _Shape(whole, (shape, concat))


def _write(edit: Edit, product: _Product, before: Node | None, behind: Node | None, target: list[int] | None) -> Node:
    node, add = product.node, product.add
    source = node.inputs[0] if before is None else before.inputs[0]
    rows = _reshape(edit, node, source, _constant(edit, node, [-1, product.inner]))
    result = _matrix(edit, node, add.outputs[0])
    gemm = Node("Gemm", node.name, {}, [rows.outputs[0], node.inputs[1], product.bias], [result])
    edit.insert_before(add, rows, gemm)
    if behind is not None:
        edit.replace_input(behind, 0, result)
        if target is not None:
            edit.replace_input(behind, 1, _constant(edit, behind, target))
        remove(edit, add)
    else:
        assert target is not None
        _finish(edit, add, result, _constant(edit, add, target))
    remove(edit, node)
    if before is not None:
        remove(edit, before)
    return gemm


def _finish(edit: Edit, last: Node, rows: Tensor, shape: Tensor) -> None:
    """Let a Reshape of the rows give out what `last` did."""
    output = last.outputs[0]
    name = last.name and edit.fresh(f"{last.name}/Reshape")
    last.outputs.clear()
    edit.insert_before(last, Node("Reshape", name, {}, [rows, shape], [output]))
    remove(edit, last)


def _reshape(edit: Edit, node: Node, data: Tensor, shape: Tensor) -> Node:
    made = Variable(edit.fresh(f"{_name(node)}_rows"), data.dtype)
    return Node("Reshape", edit.fresh(f"{_name(node)}/rows"), {}, [data, shape], [made])


def _matrix(edit: Edit, node: Node, tensor: Tensor) -> Variable:
    return Variable(edit.fresh(f"{_name(node)}_matrix"), tensor.dtype)


def _constant(edit: Edit, node: Node, values: list[int]) -> Constant:
    return Constant(edit.fresh(f"{_name(node)}_target"), np.array(values, np.int64))


def _name(node: Node) -> str:
    return node.name or node.outputs[0].name
