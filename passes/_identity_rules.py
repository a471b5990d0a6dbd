"""When a node of an operator gives out one of its inputs, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import ProvenShapes, Shape, has, ints
from onnxopt.ir.purity import may_train
from onnxopt.ir.values import Array

Verdict = int | str | None
"""Which input comes out unchanged; or why that is not certain of a near match; or None where it plainly does not."""


@dataclass(frozen=True)
class Facts:
    """What a rule may ask about the surroundings of a node."""

    edit: ir.Edit
    shapes: ProvenShapes
    opset: int
    typed: bool
    """Whether declared element types hold: in a function they are those of one of its calls."""

    def dtype(self, tensor: ir.Tensor) -> dtypes.DType | None:
        """The element type of a tensor, where it is certain: a runtime refuses a model that declares a wrong one."""
        if self.typed or isinstance(tensor, ir.Constant):
            return tensor.dtype if isinstance(tensor, ir.Constant) or tensor.type == "tensor_type" else None
        return None


Rule = Callable[[ir.Node, Facts], Verdict]


def _identity(node: ir.Node, facts: Facts) -> Verdict:
    return 0


def _dropout(node: ir.Node, facts: Facts) -> Verdict:
    if any(output.name and facts.edit.is_used(output) for output in node.outputs[1:]):
        return "its mask is read"
    return "it may be training" if may_train(node, facts.opset) else 0


def _cast(node: ir.Node, facts: Facts) -> Verdict:
    to = node.attr("to")
    return _same_dtype(node, facts, dtypes.to_numpy(to) if isinstance(to, int) else None)


def _cast_like(node: ir.Node, facts: Facts) -> Verdict:
    return _same_dtype(node, facts, facts.dtype(node.inputs[1]))


def _same_dtype(node: ir.Node, facts: Facts, target: dtypes.DType | None) -> Verdict:
    source = facts.dtype(node.inputs[0])
    if source is None or target is None:
        unknown = node.inputs[0] if source is None else node.inputs[-1]
        return f"the element type of '{unknown.name}' is not known; infer-shapes may find it"
    return 0 if source == target else None


def _reshape(node: ir.Node, facts: Facts) -> Verdict:
    if _is_shape_of(node, 1, node.inputs[0]):
        return 0
    target, shape = ints(node, 1, "shape"), facts.shapes.shape(node.inputs[0])
    if target is None:
        return None
    zero_copies = node.attr("allowzero", 0) == 0
    if shape is None:
        return _not_proven(node)
    if len(shape) != len(target):
        return None
    open_dims = [(dim, wanted) for dim, wanted in zip(shape, target, strict=True) if wanted or not zero_copies]
    open_dims = [(dim, wanted) for dim, wanted in open_dims if dim is None or wanted != dim]
    if not open_dims or (len(open_dims) == 1 and open_dims[0][1] == -1):  # the rest is kept, so this one is
        return 0
    return _not_proven(node) if any(dim is None for dim, _ in open_dims) else None


def _expand(node: ir.Node, facts: Facts) -> Verdict:
    if _is_shape_of(node, 1, node.inputs[0]):
        return 0
    target = ints(node, 1, "shape")
    return None if target is None else _kept_by(node, facts, 0, tuple(target))


def _transpose(node: ir.Node, facts: Facts) -> Verdict:
    perm = node.attr("perm")
    if perm is None:  # reverses the axes
        shape = facts.shapes.shape(node.inputs[0])
        return 0 if shape is not None and len(shape) < 2 else None
    return 0 if isinstance(perm, list) and perm == list(range(len(perm))) else None


def _pad(node: ir.Node, facts: Facts) -> Verdict:
    pads = ints(node, 1, "paddings" if "paddings" in node.attrs else "pads")
    return 0 if pads is not None and not any(pads) else None


_EVERYTHING = 2**31 - 1
"""From this end on, a slice is taken to reach the end of its axis: exporters write it, or 2**63 - 1, for "all"."""


def _slice(node: ir.Node, facts: Facts) -> Verdict:
    starts, ends = ints(node, 1, "starts"), ints(node, 2, "ends")
    steps = ints(node, 4, "steps") if has(node, 4, "steps") else []
    if starts is None or ends is None or steps is None or any(starts) or any(step != 1 for step in steps):
        return None
    axes = ints(node, 3, "axes") if has(node, 3, "axes") else list(range(len(starts)))
    for axis, end in zip(axes or [], ends, strict=False):
        if end < _EVERYTHING:
            shape = facts.shapes.shape(node.inputs[0])
            dim = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
            if dim is None or end < dim:
                return _not_proven(node) if dim is None and end > 0 else None
    return 0 if axes is not None else None


def _one_input(node: ir.Node, facts: Facts) -> Verdict:
    return 0 if len(node.inputs) == 1 else None


def _split(node: ir.Node, facts: Facts) -> Verdict:
    return 0 if len(node.outputs) == 1 else None


def _tile(node: ir.Node, facts: Facts) -> Verdict:
    repeats = ints(node, 1, "repeats") if facts.opset >= 6 else None  # Tile-1 takes a count and an axis
    return 0 if repeats is not None and all(count == 1 for count in repeats) else None


def _flatten(node: ir.Node, facts: Facts) -> Verdict:
    if node.attr("axis", 1) not in (1, -1):
        return None
    shape = facts.shapes.shape(node.inputs[0])
    return _not_proven(node) if shape is None else 0 if len(shape) == 2 else None


def _unsqueeze(node: ir.Node, facts: Facts) -> Verdict:
    return 0 if ints(node, 1, "axes") == [] else None


def _squeeze(node: ir.Node, facts: Facts) -> Verdict:
    if has(node, 1, "axes") and ints(node, 1, "axes") != []:
        return None
    shape = facts.shapes.shape(node.inputs[0])
    if shape is not None and None not in shape and 1 not in shape:
        return 0
    # The specification squeezes nothing then, onnxruntime every axis of length 1.
    return "an empty list of axes means different things to different runtimes" if has(node, 1, "axes") else None


_COMMUTES = ("Add", "Mul", "And", "Or", "Xor")
_LEGACY_BROADCAST_BELOW = 7


def _neutral_operand(node: ir.Node, facts: Facts) -> Verdict:
    """x + -0.0, x - 0.0, x * 1, x / 1, x and true, ...: IEEE 754 says that each gives x, of either sign of zero."""
    reason: str | None = None
    for operand in (1, 0) if node.op in _COMMUTES else (1,):
        value = known_value(node.inputs[operand])
        if value is None:
            continue
        neutral = _is_neutral(node.op, value)
        if neutral is True and facts.opset < _LEGACY_BROADCAST_BELOW:
            return 0 if operand == 1 else None  # the second operand took the first one's shape
        if neutral is True:
            verdict = _kept_by(node, facts, 1 - operand, value.shape)
            if isinstance(verdict, int):
                return verdict
            reason = reason or verdict
        elif isinstance(neutral, str):
            reason = reason or neutral
    return reason


def _is_neutral(op: str, value: Array) -> bool | str | None:
    """Whether every element leaves the other operand as it is; or why that is nearly so."""
    if op in ("And", "Or", "Xor"):
        return bool(np.all(value == (op == "And"))) or None
    if op in ("Mul", "Div"):
        return bool(np.all(value == 1)) or None
    if np.any(value):
        return None
    if value.dtype.kind in "iu":
        return True
    negative = np.signbit(value.astype(np.float64))
    if np.all(negative == (op == "Add")):
        return True
    return "it turns -0.0 into 0.0"


def _kept_by(node: ir.Node, facts: Facts, index: int, other: Shape) -> Verdict:
    """`index`, if broadcasting that input with a tensor of shape `other` leaves its shape as it is."""
    if not other:
        return index
    shape = facts.shapes.shape(node.inputs[index])
    if shape is None:
        return _not_proven(node, index)
    if len(other) > len(shape):
        return None
    pairs = list(zip(shape[len(shape) - len(other) :], other, strict=True))
    if all(wanted in (1, dim) for dim, wanted in pairs):
        return index
    return _not_proven(node, index) if any(dim is None and wanted != 1 for dim, wanted in pairs) else None


def _not_proven(node: ir.Node, index: int = 0) -> str:
    return f"the shape of '{node.inputs[index].name}' is not certain"


def _is_shape_of(node: ir.Node, index: int, tensor: ir.Tensor) -> bool:
    """Whether an input is the output of `Shape(tensor)`, all of it."""
    producer: ir.Node | None = node.inputs[index].producer if index < len(node.inputs) else None
    if producer is None or not producer.is_op("Shape") or producer.attrs:
        return False
    return producer.inputs[0] is tensor


RULES: dict[str, Rule] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Reshape": _reshape,
    "Expand": _expand,
    "Transpose": _transpose,
    "Pad": _pad,
    "Slice": _slice,
    "Tile": _tile,
    "Concat": _one_input,
    "Sum": _one_input,
    "Mean": _one_input,
    "Max": _one_input,
    "Min": _one_input,
    "Split": _split,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Add": _neutral_operand,
    "Sub": _neutral_operand,
    "Mul": _neutral_operand,
    "Div": _neutral_operand,
    "And": _neutral_operand,
    "Or": _neutral_operand,
    "Xor": _neutral_operand,
}
"""For each operator of the default domain. A rule may count on the number of inputs that the operator requires."""
