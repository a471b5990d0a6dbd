"""How operators that work on each element by itself move past a permutation."""

from __future__ import annotations

from onnxopt.ir import dtypes
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.purity import may_train
from onnxopt.layout.move import Arrival, Facts, Move, Rule
from onnxopt.layout.normalization import WOULD_BE_OTHERS, centres_others
from onnxopt.layout.permutation import Perm, is_identity, narrowed, widened
from onnxopt.linear.match import constant_of

_BROADCAST_FROM = 7
"""Before, an attribute said how the second operand was broadcast; Max, Min, Sum and Mean asked for equal shapes."""
_VARIADIC_FROM = 8
_BY_PLACE = frozenset(
    {
        "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Log", "Mish", "Selu", "Sin",
        "Sinh", "Softplus", "Tan",
    }
)  # fmt: skip
"""Transcendental functions that onnxruntime 1.31 computes by Eigen: in whole vectors by one formula, and what is left
at the end of a tensor by another. Ten of these were seen to differ by an ulp; Erf, Exp, Gelu, Sigmoid and Tanh, which
are its own, never did."""


def _unary(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if facts.exact and node.op in _BY_PLACE:
        raise NoMatch("its last bit may depend on an element's place in memory")
    return _first_to_first(node, at)


def _first_to_first(node: Node, at: Arrival) -> Move | None:
    """The first input and output take the permutation; parameters and other outputs stay."""
    if at.index != 0:
        return None
    inputs: tuple[Perm | None, ...] = (at.perm, *[None] * (len(node.inputs) - 1))
    return Move(inputs, (at.perm, *[None] * (len(node.outputs) - 1)))


def _broadcasting(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    variadic = node.op in ("Max", "Mean", "Min", "Sum")
    if opset < (_VARIADIC_FROM if variadic else _BROADCAST_FROM) and len(node.inputs) > 1:
        raise NoMatch(f"opset {opset} broadcasts its operands in another way")
    ranks = [
        len(at.perm) if at.is_input and index == at.index else facts.rank(t) for index, t in enumerate(node.inputs)
    ]
    if None in ranks:
        unknown = node.inputs[ranks.index(None)]
        raise NoMatch(f"the rank of its operand '{unknown.name}' is not certain")
    rank = max(known for known in ranks if known is not None)
    perm = widened(at.perm, rank) if at.is_input else at.perm
    if len(perm) != rank:  # the declaration and the rules disagree: nothing is certain here
        return None
    if centres_others(node, perm):
        raise NoMatch(WOULD_BE_OTHERS)
    inputs = tuple(_operand(node, index, perm, known or 0, facts) for index, known in enumerate(ranks))
    return Move(inputs, (perm,))


def _operand(node: Node, index: int, perm: Perm, rank: int, facts: Facts) -> Perm | None:
    """The permutation that one operand takes where the result takes `perm`."""
    tensor = node.inputs[index]
    constant = constant_of(tensor)
    shape = facts.shape(tensor) if constant is None else constant.shape
    if rank == 0 or (rank < len(perm) and shape is not None and all(dim == 1 for dim in shape)):
        return None
    if rank == len(perm):
        return perm
    part = narrowed(perm, rank)
    if part is not None:
        return None if is_identity(part) else part
    if constant is None:
        raise NoMatch(f"its operand '{tensor.name}' has fewer dimensions and would need a Reshape")
    return perm  # of the constant with as many leading dimensions of length 1


def _dropout(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if may_train(node, opset):
        raise NoMatch("it may be training, and drops other elements then")
    inputs = (at.perm, *[None] * (len(node.inputs) - 1))
    return Move(inputs, (at.perm,) * len(node.outputs))


def _prelu(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    return _broadcasting(node, at, facts, opset) if opset >= _BROADCAST_FROM else None


def _quantize(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    """Per tensor nothing changes; per axis, the axis follows. Operator specification of QuantizeLinear."""
    if at.index != 0:
        return None
    scale = node.inputs[1]
    if node.attr("block_size", 0) != 0:
        raise NoMatch("it quantizes in blocks")
    if node.attr("output_dtype", 0) != 0 or (len(node.inputs) > 2 and not is_plain(node.inputs[2].dtype)):
        raise NoMatch("runtimes transpose few of the types of under 8 bits, and of the 8-bit floats")
    constant = constant_of(scale)
    shape = facts.shape(scale) if constant is None else constant.shape
    if shape is None or len(shape) > 1:
        raise NoMatch(
            f"the shape of its scale '{scale.name}' is not certain" if shape is None else "its scale is no vector"
        )
    move = _first_to_first(node, at)
    if move is None or shape in ((), (1,)):
        return move
    axis = node.attr("axis", 1)
    if not isinstance(axis, int) or not -len(at.perm) <= axis < len(at.perm):
        return None
    place = at.perm[axis]

    def set_axis(edit: object, moved: Node) -> None:
        moved.attrs["axis"] = place

    return Move(move.inputs, move.outputs, set_axis)


def _dynamic_quantize(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    return _first_to_first(node, at)


def is_plain(dtype: dtypes.DType | None) -> bool:
    """Whether every runtime transposes the type: not those of under 8 bits, nor the 8-bit floats."""
    return dtype is None or dtype.kind != "V" or dtype.name == "bfloat16"


UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
BROADCASTING = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BROADCASTING, _broadcasting),
    "DequantizeLinear": _quantize,
    "Dropout": _dropout,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "PRelu": _prelu,
    "QuantizeLinear": _quantize,
}
