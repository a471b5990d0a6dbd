"""How reductions and matrix products move past a permutation."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.proven import has, ints
from onnxopt.layout.axis_rules import data_move, normal_axes, normal_axis, optional, set_attribute, set_ints
from onnxopt.layout.move import Apply, Arrival, Facts, Move, Rule
from onnxopt.layout.normalization import WOULD_BE_OTHERS, is_normalization, stay_last
from onnxopt.layout.permutation import Perm, with_fixed, without

_EXACT = frozenset({"ReduceMax", "ReduceMin"})
"""Reductions that give the same bits in any order."""


def _reduce(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0:
        return None
    if facts.exact and node.op not in _EXACT:
        raise NoMatch("it adds up floats, whose order may change")
    keepdims = node.attr("keepdims", 1)
    axes = ints(node, 1, "axes") if has(node, 1, "axes") else []
    if axes is None or not isinstance(keepdims, int):
        raise NoMatch("its axes are computed at run time")
    if not axes:
        return _reduce_all(node, at)
    rank = len(at.perm) if at.is_input or keepdims else len(at.perm) + len(set(axes))
    axes = normal_axes(axes, rank)
    perm = at.perm if at.is_input or keepdims else with_fixed(at.perm, axes)
    places = sorted({perm[axis] for axis in axes})
    if is_normalization(node, axes, rank) and not stay_last(axes, perm):
        raise NoMatch(WOULD_BE_OTHERS)
    output = perm if keepdims else without(perm, axes)
    return data_move(node, perm, optional(output), set_ints(1, "axes", places))


def _reduce_all(node: Node, at: Arrival) -> Move | None:
    """Without axes, every one goes, whatever their order; or, with `noop_with_empty_axes`, none."""
    if node.attr("noop_with_empty_axes", 0) != 0:
        return data_move(node, at.perm, at.perm)
    return data_move(node, at.perm, None) if at.is_input else None


def _arg(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    keepdims = node.attr("keepdims", 1)
    if not isinstance(keepdims, int):
        return None
    axis = normal_axis(node, 0, len(at.perm) + (not at.is_input and not keepdims))
    perm = at.perm if at.is_input or keepdims else with_fixed(at.perm, [axis])
    output = perm if keepdims else without(perm, [axis])
    return data_move(node, perm, optional(output), set_attribute("axis", perm[axis]))


def _matmul(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    """Axes of the batch may change places; the matrices stay. Operator specification of MatMul, as in numpy."""
    ranks = [
        len(at.perm) if at.is_input and index == at.index else facts.rank(t) for index, t in enumerate(node.inputs)
    ]
    rank = len(at.perm)
    fixed = 1 if ranks[1] == 2 else 2  # by one matrix, every row of the batch is multiplied alike
    if rank < 3 or at.perm[-fixed:] != tuple(range(rank - fixed, rank)):
        raise NoMatch("it multiplies the last two axes, which would be others")
    if facts.exact:
        raise NoMatch("it adds up floats, whose order may change")
    if ranks[0] != rank or ranks[1] not in (2, rank):
        raise NoMatch("its operands are not of one rank, or that is not certain")
    return Move(tuple(at.perm if known == rank else None for known in ranks), (at.perm,))


def _gemm(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    """It transposes its matrices itself."""
    name = ("transA", "transB")[at.index] if at.is_input and at.index < 2 else ""
    flag = node.attr(name, 0) if name else None
    if not isinstance(flag, int) or at.perm != (1, 0):
        return None
    if facts.exact:
        raise NoMatch("it adds up floats, whose order may change")
    inputs: list[Perm | None] = [None] * len(node.inputs)
    inputs[at.index] = at.perm
    return Move(tuple(inputs), (None,), set_attribute(name, int(not flag)))


def _size(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    return Move((at.perm,), (None,)) if at.is_input else None


def _shape(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    """Whoever picks single dimensions out of the shape picks others; no rule where the shape is used as a whole."""
    if not at.is_input or node.attrs.keys() & {"start", "end"} or facts.edit.is_output(node.outputs[0]):
        return None
    readers = list(dict.fromkeys(node.outputs[0].outputs))
    if not readers or not all(_picks(reader, node, len(at.perm)) for reader in readers):
        raise NoMatch("it reads its shape as a whole")
    return Move((at.perm,), (None,), _pick_others(at.perm, readers))


def _picks(reader: Node, shape: Node, rank: int) -> bool:
    if not reader.is_op("Gather") or reader.inputs[0] is not shape.outputs[0]:
        return False
    if len(reader.inputs) != 2 or reader.inputs[1] is shape.outputs[0] or reader.attr("axis", 0) not in (0, -1):
        return False
    picked = ints(reader, 1, "indices")
    return picked is not None and all(-rank <= index < rank for index in picked)


def _pick_others(perm: Perm, readers: list[Node]) -> Apply:
    def apply(edit: Edit, node: Node) -> None:
        for reader in readers:
            picked = ints(reader, 1, "indices") or []
            set_ints(1, "indices", [perm[index] for index in picked])(edit, reader)

    return apply


# fmt: off
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)
# fmt: on
RULES: dict[str, Rule] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Shape": _shape,
    "Size": _size,
}
