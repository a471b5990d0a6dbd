"""Shapes that are certain: they follow from the model's inputs, its constants and the operator specification.

Value infos are not believed: files in the wild declare wrong static shapes, and a rewrite that must keep every bit
cannot rest on them. A runtime refuses inputs that differ from their declaration, so those are certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onnxopt.ir.graph import Function, Graph, every_graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable

Shape = tuple[int | None, ...]
"""A number for each dimension, or None where it is not certain."""
Shapes = Sequence[Shape | None]
_BROADCAST_FROM = 7
"""Before, the second operand took the shape of the first. Max, Min, Sum and Mean asked for equal shapes until 8."""


class ProvenShapes:
    """The certain shapes of a model, worked out in one sweep when first asked for."""

    def __init__(self, main: Graph) -> None:
        self._main = main
        self._known: dict[Tensor, Shape | None] | None = None

    def shape(self, tensor: Tensor) -> Shape | None:
        """The shape of a tensor; None where not even the rank is certain."""
        if isinstance(tensor, Constant):
            return tuple(tensor.shape)
        if self._known is None:
            self._known = {}
            self._sweep()
        return self._known.get(tensor)

    def _sweep(self) -> None:
        assert self._known is not None
        if not isinstance(self._main, Function):
            for tensor in self._main.inputs:
                if isinstance(tensor, Variable) and tensor.type == "tensor_type" and tensor.default is None:
                    self._known[tensor] = _declared(tensor)
        overridden = {function.name for function in self._main.functions if function.domain in ("", "ai.onnx")}
        for scope in every_graph(self._main):
            for node in scope.nodes:
                rule = _RULES.get(node.op)
                if rule is None or not node.is_standard or node.op in overridden or not node.inputs:
                    continue
                shapes = [self.shape(tensor) for tensor in node.inputs]
                shape = rule(node, shapes if len(shapes) > 1 else [*shapes, None], scope.opset)
                if shape is not None and node.outputs:
                    self._known[node.outputs[0]] = shape


def _declared(tensor: Variable) -> Shape | None:
    if tensor.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) and dim >= 0 else None for dim in tensor.shape)


def ints(node: Node, index: int, name: str) -> list[int] | None:
    """Integers that older opsets give as attribute `name` and newer ones as input `index`; None where not known."""
    given = node.attr(name)
    if isinstance(given, list):
        return given
    if given is not None or index >= len(node.inputs):
        return None
    value = known_value(node.inputs[index])
    return None if value is None or value.dtype.kind not in "iu" else [int(item) for item in value.reshape(-1)]


def has(node: Node, index: int, name: str) -> bool:
    """Whether such integers are given at all."""
    return name in node.attrs or (index < len(node.inputs) and bool(node.inputs[index].name))


def _first(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    return shapes[0]


def _broadcast(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    if opset < _BROADCAST_FROM or len(node.inputs) == 1:
        return shapes[0]
    known = [shape for shape in shapes if shape is not None]
    return _broadcast_dims(known) if len(known) == len(shapes) else None


def _broadcast_dims(shapes: list[Shape]) -> Shape:
    rank = max(map(len, shapes))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(_common_dim(column) for column in columns)


def _common_dim(dims: tuple[int | None, ...]) -> int | None:
    wide = {dim for dim in dims if dim not in (None, 1)}
    if wide:  # a dimension that is not known is then this one, or 1
        return wide.pop() if len(wide) == 1 else None
    return None if None in dims else 1


def _conv(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    data, weight = shapes[0], shapes[1]
    if data is None or weight is None or len(data) != len(weight):
        return None
    return (data[0], weight[0], *_windows(node, data[2:], weight[2:]))


def _pool(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    data, kernel = shapes[0], node.attr("kernel_shape")
    if data is None or len(data) < 2:
        return None
    return (*data[:2], *_windows(node, data[2:], kernel if isinstance(kernel, list) else ()))


def _windows(node: Node, dims: Shape, kernel: Sequence[int | None]) -> Shape:
    """Output positions of a sliding window (operator specification of Conv and MaxPool, explicit padding)."""
    rank = len(dims)
    strides, dilations = node.attr("strides", [1] * rank), node.attr("dilations", [1] * rank)
    pads = node.attr("pads", [0] * 2 * rank)
    plain = all(isinstance(value, list) for value in (strides, dilations, pads))
    if not plain or node.attr("auto_pad", "NOTSET") != "NOTSET" or node.attr("ceil_mode", 0) != 0:
        return (None,) * rank
    if (len(kernel), len(strides), len(dilations), len(pads)) != (rank, rank, rank, 2 * rank) or 0 in strides:
        return (None,) * rank
    found: list[int | None] = []
    for axis, (dim, size) in enumerate(zip(dims, kernel, strict=True)):
        if dim is None or size is None:
            found.append(None)
        else:
            span = dim + pads[axis] + pads[axis + rank] - dilations[axis] * (size - 1) - 1
            found.append(span // strides[axis] + 1)
    return tuple(found)


def _global_pool(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    return None if shapes[0] is None else (*shapes[0][:2], *[1] * (len(shapes[0]) - 2))


def _flatten(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    axis = node.attr("axis", 1)
    if shapes[0] is None or not isinstance(axis, int):
        return (None, None)
    axis += len(shapes[0]) if axis < 0 else 0
    return (_product(shapes[0][:axis]), _product(shapes[0][axis:]))


def _product(dims: Shape) -> int | None:
    numbers = [dim for dim in dims if dim is not None]
    return math.prod(numbers) if len(numbers) == len(dims) else None


def _gemm(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    trans = [node.attr("transA", 0), node.attr("transB", 0)]
    if not all(isinstance(flag, int) for flag in trans):
        return (None, None)
    rows, columns = (None if shape is None or len(shape) != 2 else shape for shape in shapes[:2])
    return (rows[bool(trans[0])] if rows else None, columns[not trans[1]] if columns else None)


def _matmul(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    left, right = shapes[0], shapes[1]
    if left is None or right is None or min(len(left), len(right)) < 2:
        return None
    return (*_broadcast_dims([left[:-2], right[:-2]]), left[-2], right[-1])


def _transpose(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    perm = node.attr("perm")
    if isinstance(perm, list):
        data = shapes[0] if shapes[0] is not None and len(shapes[0]) == len(perm) else (None,) * len(perm)
        return tuple(data[axis] for axis in perm)
    return None if shapes[0] is None or perm is not None else tuple(reversed(shapes[0]))


def _reshape(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    target = ints(node, 1, "shape")
    if target is None or node.attr("allowzero", 0) != 0:
        return None
    data = shapes[0]
    copied = [data[axis] if data is not None and axis < len(data) else None for axis in range(len(target))]
    found = [copied[axis] if dim == 0 else None if dim < 0 else dim for axis, dim in enumerate(target)]
    total = None if data is None else _product(data)
    others = _product(tuple(dim for dim, wanted in zip(found, target, strict=True) if wanted >= 0))
    if total and others and -1 in target:
        found[target.index(-1)] = total // others
    return tuple(found)


def _concat(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    axis = node.attr("axis", 1 if opset < 4 else None)
    known = [shape for shape in shapes[: len(node.inputs)] if shape is not None]
    ranks = {len(shape) for shape in known}
    if len(ranks) != 1 or not isinstance(axis, int) or not -min(ranks) <= axis < min(ranks):
        return None
    columns = list(zip(*known, strict=True))
    dims = [next((dim for dim in column if dim is not None), None) for column in columns]
    joined = [dim for dim in columns[axis] if dim is not None]
    dims[axis] = sum(joined) if len(joined) == len(node.inputs) else None
    return tuple(dims)


def _rank_only(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    return None if shapes[0] is None else (None,) * len(shapes[0])


def _unsqueeze(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    axes = ints(node, 1, "axes")
    if shapes[0] is None or axes is None:
        return None
    rank = len(shapes[0]) + len(axes)
    new, rest = {axis % rank for axis in axes}, iter(shapes[0])
    return tuple(1 if axis in new else next(rest, None) for axis in range(rank))


def _squeeze(node: Node, shapes: Shapes, opset: int) -> Shape | None:
    axes = ints(node, 1, "axes")
    if not shapes[0] or not axes:
        return None
    gone = {axis % len(shapes[0]) for axis in axes}
    return tuple(dim for axis, dim in enumerate(shapes[0]) if axis not in gone)


# fmt: off
_KEEP = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitwiseNot", "Cast", "CastLike",
    "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf",
    "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "Mish", "Neg", "Not",
    "PRelu", "QuantizeLinear", "Reciprocal", "Relu", "Round", "ScatterElements", "ScatterND", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh",
    "ThresholdedRelu", "Trilu",
)
_BROADCASTING = (
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
)
_RULES: dict[str, Callable[[Node, Shapes, int], Shape | None]] = {
    **dict.fromkeys(_KEEP, _first),
    **dict.fromkeys(_BROADCASTING, _broadcast),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("ConvTranspose", "Pad", "Resize", "Slice", "Tile", "Upsample"), _rank_only),
    "Concat": _concat, "Conv": _conv, "Flatten": _flatten, "Gemm": _gemm, "MatMul": _matmul, "Reshape": _reshape,
    "Squeeze": _squeeze, "Transpose": _transpose, "Unsqueeze": _unsqueeze,
}
"""The shape of an operator's first output; operators that are not here prove nothing."""
# fmt: on
