"""What a narrower float means to each operator: facts of the ONNX operator specification, and of onnxruntime."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from onnxopt.ir.schema import Schema, find_schema

_NO_KERNEL = "onnxruntime has no kernel that makes this in a narrow type"
_SCALES = "a scale that is rounded moves all values"
_PLACES = "places in an image are rounded in a narrow type"
_BITS = "it looks at the bits of a float32"
_MIXED = "onnxruntime expands it to operators of both types"
_SEQUENCES = "sequences and optionals stay as they are"
KEPT: Mapping[str, str] = {
    **dict.fromkeys(("Bernoulli", "BlackmanWindow", "EyeLike", "HammingWindow", "HannWindow"), _NO_KERNEL),
    **dict.fromkeys(("MelWeightMatrix", "RandomNormal", "RandomNormalLike", "RandomUniform"), _NO_KERNEL),
    **dict.fromkeys(("RandomUniformLike", "Range"), _NO_KERNEL),
    **dict.fromkeys(("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"), _SCALES),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"), _SCALES),
    "BitCast": _BITS,
    "LinearAttention": "the type of its state does not follow from its inputs",
    "MeanVarianceNormalization": _MIXED,
    **dict.fromkeys(("AffineGrid", "MaxRoiPool", "RoiAlign"), _PLACES),
    **dict.fromkeys(("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement"), _SEQUENCES),
    **dict.fromkeys(("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"), _SEQUENCES),
    **dict.fromkeys(("SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence"), _SEQUENCES),
}
"""Operators that stay in float32, and why; besides those whose schema has no narrow type at the opset. Nodes that only
lack a kernel are no reason: onnxruntime computes those in float32 by itself."""
_WIDE_VARIABLES: Mapping[str, frozenset[str]] = {
    "BatchNormalization": frozenset({"T1", "T2", "U"}),
    "Dropout": frozenset({"T1"}),
    "GridSample": frozenset({"T2"}),
    "LayerNormalization": frozenset({"U"}),
    "OneHot": frozenset({"T1", "T2"}),
    "Resize": frozenset({"T2"}),
}
"""Type variables that stay float32 where the schema has them apart: statistics, regions, grids, ratios."""
_OF_ANY_TYPE: Mapping[str, int] = {"Cast": 0, "CastLike": 0}
"""Operators with an input whose type nothing else depends on."""
MOVING = frozenset(
    {
        "CenterCropPad", "Compress", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements",
        "GatherND", "Identity", "Pad", "Reshape", "ReverseSequence", "ScatterElements", "ScatterND", "Slice",
        "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
        "CastLike", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
    }
)  # fmt: skip
"""Operators that compute no floats: they have whatever type makes for fewer Casts."""
VALUED = frozenset({"Constant", "ConstantOfShape"})
"""Operators whose type an attribute `value` gives."""
SATURATING: Mapping[str, tuple[int, ...]] = {"Clip": (1, 2)}
"""Inputs that are limits: one beyond the type is no limit there, and infinity says the same."""
DIVIDING: Mapping[str, int] = {"Div": 1, "Log": 0, "Reciprocal": 0}
"""Inputs of which a value that becomes 0 makes infinity."""


def turns_batch_inside(perm: Sequence[int]) -> bool:
    """Whether a Transpose moves the first axis to the last or the last but one, and leaves the others in order.

    onnxruntime 1.31 dies while it loads a model in which a MatMul with a constant reads such a Transpose of float16, be
    there a Cast between them or not (MatmulTransposeFusion once more after the Casts that it inserted itself).
    """
    rank = len(perm)
    others = list(range(1, rank))
    return rank > 2 and list(perm) in ([*others, 0], [*others[:-1], 0, rank - 1])


class Slot(enum.Enum):
    """What an input or output takes."""

    NARROW = "narrow"
    """The narrow type, where the node is converted."""
    WIDE = "wide"
    """float32 as before."""
    ANY = "any"
    """Whatever comes."""


@dataclass(frozen=True)
class Slots:
    """Of all inputs and outputs of a node."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    reason: str = ""
    """Why the operator cannot be converted."""


@lru_cache(maxsize=4096)
def slots(op: str, domain: str, opset: int | None, given: tuple[bool, ...], outputs: int, type_: str) -> Slots:
    """What the inputs and outputs of an operator take, those that are float32 by now.

    Args:
        op: Operator.
        domain: "" for the default one.
        opset: Of that domain.
        given: For each input, whether it is a float32 tensor.
        outputs: How many there are.
        type_: `float16` or `bfloat16`.
    """
    inputs, wide = len(given), f"domain '{domain}' is not known" if domain else KEPT.get(op, "")
    schema = None if wide else find_schema(op, domain, opset)
    if schema is None:
        return _all_wide(inputs, outputs, wide or f"ONNX has no {op} in opset {opset}")
    apart = _WIDE_VARIABLES.get(op, frozenset())
    narrow = {
        each.type_param_str
        for each in schema.type_constraints
        if {"tensor(float)", f"tensor({type_})"} <= set(each.allowed_type_strs) and each.type_param_str not in apart
    }
    takes = [_variable(schema.inputs, index) in narrow for index in range(inputs)]
    gives = [_variable(schema.outputs, index) in narrow for index in range(outputs)]
    read = [index for index in range(inputs) if takes[index] and given[index]]
    loose = [index for index in read if _OF_ANY_TYPE.get(op) == index]
    if len(read) == 1 and not any(gives):
        (only,) = read
        alone = [_variable(schema.inputs, index) for index in range(inputs)].count(_variable(schema.inputs, only)) == 1
        loose = read if alone else []
    variables = {_variable(schema.inputs, index) for index in read if index not in loose}
    if op in VALUED:
        variables |= narrow
    of_inputs = tuple(
        Slot.ANY if index in loose else Slot.NARROW if index in read else Slot.WIDE for index in range(inputs)
    )
    of_outputs = tuple(
        Slot.NARROW if gives[index] and _variable(schema.outputs, index) in variables else Slot.WIDE
        for index in range(outputs)
    )
    return Slots(of_inputs, of_outputs, "" if narrow else f"{op} has no {type_} in opset {opset}")


def _all_wide(inputs: int, outputs: int, reason: str) -> Slots:
    return Slots((Slot.WIDE,) * inputs, (Slot.WIDE,) * outputs, reason)


def _variable(formals: Sequence[Schema.FormalParameter], index: int) -> str:
    if not formals:
        return ""
    formal = formals[min(index, len(formals) - 1)]
    return str(formal.type_str) if formal.is_homogeneous or index < len(formals) - 1 else ""
