"""What quantization will do to a model: decided before anything is calibrated or changed."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.edit import Edit
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.quantization import IntegerName, QuantizationRules
from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.operands import bias_input, channel_axis, is_scaled, value_inputs
from onnxopt.quantization.placement import Key, Placement, Use, by_encoding, place
from onnxopt.quantization.request import Request
from onnxopt.quantization.selection import Role, Selection, select

_CHANNELS = 13
"""The opset from which a scale may be per axis."""
_NARROW_AND_WIDE = 21
"""The opset from which 4 and 16 bits are quantized."""


@dataclass(frozen=True)
class Choices:
    """What the user asked for, where it differs from the target's rules."""

    activations: IntegerName | None = None
    weights: IntegerName | None = None
    per_channel: bool | None = None
    ops: tuple[str, ...] = ()


@dataclass
class Pair:
    """One QuantizeLinear and DequantizeLinear."""

    tensor: ir.Tensor
    integer: Integer
    readers: list[Use]
    """Uses that read what it gives."""
    is_whole: bool
    """Whether everybody does, graph outputs included."""
    is_calibrated: bool
    """Whether its range has to be known: not where all its values are those of another pair of the same encoding."""


@dataclass
class Stored:
    """A constant that becomes integers and a DequantizeLinear."""

    use: Use
    constant: ir.Constant
    integer: Integer
    axis: int | None = None
    """Of the channels that have a scale each."""


@dataclass
class Group:
    """Tensors that share one encoding."""

    integer: Integer
    pairs: list[Pair] = field(default_factory=list)
    constants: list[Stored] = field(default_factory=list)


@dataclass
class Bias:
    """A bias that becomes int32 in the scale of the input of its layer times that of the weight."""

    use: Use
    constant: ir.Constant
    data: Key
    """What the layer reads beside its weight."""
    weight: Stored


@dataclass
class Plan:
    """What quantization will do to a model."""

    rules: QuantizationRules
    groups: list[Group]
    weights: list[Stored]
    biases: list[Bias]
    selection: Selection
    layers: list[ir.Node]
    """The layers that will be quantized."""
    fused: set[ir.Node]
    """Activations computed together with what is before them."""

    @property
    def requests(self) -> list[Request]:
        """The activations to calibrate, each once."""
        found: dict[str, Request] = {}
        for group in self.groups:
            for pair in group.pairs:
                if pair.is_calibrated:
                    found.setdefault(pair.tensor.name, Request(pair.tensor.name, pair.integer))
        return list(found.values())


def plan(
    graph: ir.Graph,
    rules: QuantizationRules,
    choices: Choices,
    ctx: Context,
    floats: Set[ir.Node] = frozenset(),
    wide: Set[ir.Node] = frozenset(),
) -> Plan:
    """Decide what will be quantized, and how.

    Args:
        graph: The model. Only its main graph is quantized.
        rules: Of the target.
        choices: What the user asked for.
        ctx: Is told what is left alone, and why.
        floats: Nodes to leave in float.
        wide: Nodes whose activations get the target's wide integers.

    Raises:
        BadOption: The target does not take what was asked for, or the model's opset has no such Q/DQ.
    """
    activation = _integer(rules, rules.activations, choices.activations, "activations", rules.symmetric)
    per_channel = choices.per_channel is not False
    is_signed = not (choices.weights or rules.weights[0]).startswith("u")
    # with a scale for each channel all zero points have to be equal (onnxruntime, QLinearConv)
    weight = _integer(rules, rules.weights, choices.weights, "weights", is_signed or per_channel)
    if wide and rules.wide is None:
        raise BadOption("the target has no wider integers for activations")
    wider = Integer(rules.wide, rules.symmetric) if wide and rules.wide else activation
    if unknown := [op for op in choices.ops if op not in (*rules.layers, *rules.computed)]:
        raise BadOption(
            f"the target quantizes no {unknown[0]}: give some of {', '.join((*rules.layers, *rules.computed))}"
        )
    selection = select(graph, rules, choices.ops, floats, ctx)
    session = Edit(graph)  # asked only, nothing is edited
    placed = place(
        graph, rules, selection,
        lambda node: wider if node in wide else activation,
        lambda tensor: session.sole_reader(tensor) is not None,
    )  # fmt: skip
    weights = _weights(rules, selection, placed, weight, per_channel)
    if placed.pairs or weights:
        _require(graph.opset, activation, wider, weight)
    if any(stored.axis is not None for stored in weights) and graph.opset < _CHANNELS:
        raise BadOption(
            f"a scale for each channel needs opset {_CHANNELS} and the model has {graph.opset}: "
            f"run convert-opset{{opset={_CHANNELS}}} before, or give per-channel=false"
        )
    layers = [node for node, role in selection.roles.items() if role is Role.LAYER]
    return Plan(
        rules, _groups(placed, selection), weights, _biases(rules, placed, selection, weights), selection, layers,
        placed.fused,
    )  # fmt: skip


def _integer(
    rules: QuantizationRules, allowed: tuple[IntegerName, ...], asked: IntegerName | None, what: str, symmetric: bool
) -> Integer:
    if asked is not None and asked not in allowed:
        raise BadOption(f"the target takes no {asked} {what}: give one of {', '.join(allowed)}")
    return Integer(asked or allowed[0], symmetric)


def _require(opset: int, *integers: Integer) -> None:
    """Q/DQ of these integers have to exist."""
    for integer in integers:
        needed = 10 if integer.dtype.itemsize == 1 and not integer.name.endswith("int4") else _NARROW_AND_WIDE
        if opset < needed:
            raise BadOption(
                f"QuantizeLinear to {integer.name} needs opset {needed} and the model has {opset}: "
                f"run convert-opset{{opset={needed}}} before"
            )


def _groups(placed: Placement, selection: Selection) -> list[Group]:
    found = []
    for shared in by_encoding(placed):
        integer = shared.pairs[0][1] if shared.pairs else placed.stored[shared.constants[0]]
        group = Group(integer)
        for tensor, _ in shared.pairs:
            readers, is_whole = placed.pairs[tensor, integer], placed.whole.get(tensor) == integer
            group.pairs.append(Pair(tensor, integer, readers, is_whole, (tensor, integer) not in placed.derived))
        for node, index in shared.constants:
            group.constants.append(Stored((node, index), selection.values[node.inputs[index]], integer))
        found.append(group)
    return found


def _weights(
    rules: QuantizationRules, selection: Selection, placed: Placement, integer: Integer, per_channel: bool
) -> list[Stored]:
    found = []
    for node in selection.roles:
        if node not in placed.active or not (selection.roles[node] is Role.LAYER or node.op in rules.normalizations):
            continue
        for index in value_inputs(node):
            known = selection.values.get(node.inputs[index])
            if known is not None and (node, index) not in placed.stored:
                axis = channel_axis(node, index) if per_channel and node.op in rules.per_channel else None
                found.append(Stored((node, index), known, integer, axis))
    return found


def _biases(rules: QuantizationRules, placed: Placement, selection: Selection, weights: list[Stored]) -> list[Bias]:
    found = []
    read = {use: key for key, uses in placed.pairs.items() for use in uses}
    for weight in weights:
        node, index = weight.use
        bias, data = bias_input(node), read.get((node, 1 - index))
        known = None if bias is None else selection.values.get(node.inputs[bias])
        if (
            rules.bias == "int32"
            and bias is not None
            and known is not None
            and data is not None
            and not is_scaled(node)
        ):
            found.append(Bias((node, bias), known, data, weight))
    return found
