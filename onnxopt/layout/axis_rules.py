"""How operators that name axes move past a permutation: the axes follow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.known import known_value
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.proven import has, ints
from onnxopt.ir.tensor import Constant, Variable
from onnxopt.layout.move import Apply, Arrival, Facts, Move, Rule
from onnxopt.layout.permutation import Perm, is_identity, permuted, with_fixed, without
from onnxopt.linear.match import constant_of, remove_if_dead

_SOFTMAX_OF_ONE_AXIS_FROM = 13
"""Before, Softmax flattened its input and worked on all axes from `axis` on."""


def optional(perm: Perm) -> Perm | None:
    """None stands for what stays as it is."""
    return None if is_identity(perm) else perm


def normal_axis(node: Node, default: int | None, rank: int, name: str = "axis") -> int:
    """The attribute, counted from the front.

    Raises:
        NoMatch: The caller of a function sets it, or it is out of range.
    """
    return normal_axes([node.attr(name, default)], rank)[0]


def normal_axes(axes: Sequence[object], rank: int) -> list[int]:
    """Axes counted from the front."""
    found = [axis + rank if axis < 0 else axis for axis in axes if isinstance(axis, int)]
    if len(found) != len(axes) or not all(0 <= axis < rank for axis in found):
        raise NoMatch("its axis is not certain")
    return found


def known_axes(node: Node, index: int, rank: int, name: str = "axes") -> list[int]:
    """Axes given as attribute or input."""
    axes = ints(node, index, name)
    if axes is None:
        raise NoMatch("its axes are computed at run time")
    return normal_axes(axes, rank)


def set_attribute(name: str, value: int | list[int]) -> Apply:
    """Set an attribute."""

    def apply(edit: Edit, node: Node) -> None:
        node.attrs[name] = value
        edit.changed = True

    return apply


def set_ints(index: int, name: str, values: Sequence[int], like: int | None = None) -> Apply:
    """Set integers that older opsets give as an attribute and newer ones as an input.

    The element type stays, or is that of input `like`.
    """

    def apply(edit: Edit, node: Node) -> None:
        if name in node.attrs:
            node.attrs[name] = list(values)
            edit.changed = True
            return
        while len(node.inputs) <= index:
            node.inputs.append(Variable.empty())
        old = node.inputs[index]
        constant = constant_of(old) if old.name else None
        given = known_value(old) if old.name else None
        if given is not None and given.reshape(-1).tolist() == list(values):
            return
        same = constant is not None and math.prod(constant.shape) == len(values)
        shape = constant.shape if same and constant is not None else (len(values),)
        dtype = constant.dtype if constant is not None else np.int64 if like is None else node.inputs[like].dtype
        new = np.array(values, dtype).reshape(shape)
        edit.replace_input(node, index, Constant(edit.fresh(f"{node.name or node.outputs[0].name}_{name}"), new))
        remove_if_dead(edit, old)

    return apply


def data_move(node: Node, perm: Perm, output: Perm | None, apply: Apply | None = None) -> Move:
    """The first input takes one permutation, all outputs another."""
    return Move((perm, *[None] * (len(node.inputs) - 1)), (output,) * len(node.outputs), apply)


def _concat(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    axis = normal_axis(node, 1 if opset < 4 else None, len(at.perm))
    return Move((at.perm,) * len(node.inputs), (at.perm,), set_attribute("axis", at.perm[axis]))


def _axis(default: int) -> Rule:
    def rule(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
        if facts.exact and node.op == "LpNormalization":
            raise NoMatch("it adds up floats, whose order may change")
        if at.is_input and at.index != 0:
            return None
        axis = normal_axis(node, default, len(at.perm))
        return data_move(node, at.perm, at.perm, set_attribute("axis", at.perm[axis]))

    return rule


def _cumsum(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0:
        return None
    axis = known_axes(node, 1, len(at.perm), "axis")
    return data_move(node, at.perm, at.perm, set_ints(1, "axis", [at.perm[axis[0]]]))


def _softmax(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    rank = len(at.perm)
    if facts.exact and node.op != "Hardmax":
        raise NoMatch("it adds up floats, whose order may change")
    if opset < _SOFTMAX_OF_ONE_AXIS_FROM:
        axis = normal_axis(node, 1, rank)
        if node.op == "Hardmax" or any(at.perm[other] < axis for other in range(axis, rank)):
            raise NoMatch(f"before opset 13 it works on all axes from {axis} on")
        return data_move(node, at.perm, at.perm)
    axis = normal_axis(node, -1, rank)
    if axis == rank - 1 and at.perm[axis] != axis:
        raise NoMatch("its axis would no longer be the last one, as runtimes like it best")
    return data_move(node, at.perm, at.perm, set_attribute("axis", at.perm[axis]))


def _slice(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0:
        return None
    if has(node, 3, "axes"):
        axes = known_axes(node, 3, len(at.perm))
    else:
        starts = ints(node, 1, "starts")
        if starts is None:
            raise NoMatch("how many axes it cuts is not certain")
        axes = list(range(len(starts)))
        if opset >= 10 and node.inputs[1].dtype is None:
            raise NoMatch("the element type of its starts is not known")
    places = [at.perm[axis] for axis in axes]
    if opset < 10:  # attributes
        return data_move(node, at.perm, at.perm, set_attribute("axes", places))
    return data_move(node, at.perm, at.perm, set_ints(3, "axes", places, like=1))


def _pad(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0:
        return None
    rank, name = len(at.perm), "paddings" if "paddings" in node.attrs else "pads"
    if has(node, 3, "axes"):
        places = [at.perm[axis] for axis in known_axes(node, 3, rank)]
        return data_move(node, at.perm, at.perm, set_ints(3, "axes", places))
    pads = ints(node, 1, name)
    if pads is None or len(pads) != 2 * rank:
        raise NoMatch("its pads are computed at run time")
    new = [*permuted(pads[:rank], at.perm), *permuted(pads[rank:], at.perm)]
    return data_move(node, at.perm, at.perm, set_ints(1, name, new))


def _tile(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    return _per_axis(node, at, "repeats") if opset >= 6 else None


def _expand(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    return _per_axis(node, at, "shape") if at.is_input or facts.rank(node.inputs[0]) == len(at.perm) else None


def _per_axis(node: Node, at: Arrival, name: str) -> Move | None:
    """The second input has a number for each axis."""
    if at.index != 0:
        return None
    values = ints(node, 1, name)
    if values is None or len(values) != len(at.perm):
        raise NoMatch(f"its {name} has not one known number for each axis")
    return data_move(node, at.perm, at.perm, set_ints(1, name, permuted(values, at.perm)))


def _squeeze(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0:
        return None
    if at.is_input:
        if not has(node, 1, "axes"):
            raise NoMatch("which axes it takes out depends on the shape")
        axes = known_axes(node, 1, len(at.perm))
        places = sorted(at.perm[axis] for axis in axes)
        return data_move(node, at.perm, optional(without(at.perm, axes)), set_ints(1, "axes", places))
    given = ints(node, 1, "axes")
    if given is None:
        return None
    axes = normal_axes(given, len(at.perm) + len(given))
    return data_move(node, with_fixed(at.perm, axes), at.perm, set_ints(1, "axes", sorted(axes)))


def _unsqueeze(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0:
        return None
    given = ints(node, 1, "axes")
    if given is None:
        raise NoMatch("its axes are computed at run time")
    axes = normal_axes(given, len(at.perm) + (len(given) if at.is_input else 0))
    if at.is_input:
        return data_move(node, at.perm, with_fixed(at.perm, axes), set_ints(1, "axes", sorted(axes)))
    places = sorted(at.perm[axis] for axis in axes)
    return _source_move(node, without(at.perm, axes), at.perm, set_ints(1, "axes", places))


def _source_move(node: Node, perm: Perm, output: Perm, apply: Apply) -> Move:
    return Move((optional(perm), *[None] * (len(node.inputs) - 1)), (output,), apply)


def _gather(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    """The axis gives way to those of the indices. Only of rank 0 and 1, which leave the others in their order."""
    if at.index != 0:
        return None
    rank = facts.rank(node.inputs[1])
    if rank is None or rank > 1:
        raise NoMatch("its indices are no scalar or vector" if rank else "the rank of its indices is not certain")
    if rank == 1:
        axis = normal_axis(node, 0, len(at.perm))
        return data_move(node, at.perm, at.perm, set_attribute("axis", at.perm[axis]))
    if at.is_input:
        axis = normal_axis(node, 0, len(at.perm))
        return data_move(node, at.perm, optional(without(at.perm, [axis])), set_attribute("axis", at.perm[axis]))
    axis = normal_axis(node, 0, len(at.perm) + 1)
    return data_move(node, with_fixed(at.perm, [axis]), at.perm, set_attribute("axis", axis))


def _layer_normalization(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0 or len(node.outputs) > 1:
        return None
    if facts.exact:
        raise NoMatch("it adds up floats, whose order may change")
    axis = normal_axis(node, -1, len(at.perm))
    if at.perm[axis:] != tuple(range(axis, len(at.perm))):
        raise NoMatch("it normalizes the last axes, which would be others")
    return data_move(node, at.perm, at.perm, set_attribute("axis", axis))


def _batch_normalization(node: Node, at: Arrival, facts: Facts, opset: int) -> Move | None:
    if at.index != 0 or len(node.outputs) > 1 or len(at.perm) < 2 or node.attr("training_mode", 0) != 0 or opset < 9:
        return None
    if at.perm[1] != 1:
        raise NoMatch("its channels are axis 1 and would not be")
    return data_move(node, at.perm, at.perm)


RULES: dict[str, Rule] = {
    "BatchNormalization": _batch_normalization,
    "Concat": _concat,
    "CumSum": _cumsum,
    "Expand": _expand,
    "Gather": _gather,
    "Hardmax": _softmax,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _softmax,
    "LpNormalization": _axis(-1),
    "Pad": _pad,
    "RMSNormalization": _layer_normalization,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _axis(0),
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _axis(-1),
    "Unsqueeze": _unsqueeze,
}
