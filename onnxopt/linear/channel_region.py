"""Regions of an image network whose tensors have the same channels: what has to change for one more channel.

A region begins at convolutions that make the channels, and ends at convolutions that read them; in between every
channel is computed from the same channel alone. So channels can be added that are 0 where they begin, and the weights
that read them are 0: whatever is made of them in between is multiplied by 0 in the end, if only it is finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.proven import ints
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.match import NoMatch, constant_of, is_given, label, required_constant

_SHRINKING = ("Abs", "Erf", "Gelu", "HardSwish", "Identity", "Mish", "Neg", "Relu", "Softsign", "Swish", "Tanh")
"""|f(x)| <= |x|."""
_SLOPED = ("Elu", "LeakyRelu")
"""|f(x)| <= max(1, |alpha|) |x|."""
_GATES = ("HardSigmoid", "Sigmoid")
"""|f(x)| <= 1."""
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_ARITHMETIC = ("Add", "Div", "Mul", "Sub")
_LARGEST = 1e4
"""How far from 0 an added channel may lie: products of two such numbers are far from infinity."""
Use = tuple[Node, int]


@dataclass
class Region:
    """Tensors with the same channels, on axis 1."""

    channels: int
    rank: int
    tensors: list[Tensor] = field(default_factory=list)
    writers: dict[Node, None] = field(default_factory=dict)
    """Dense Convs that make the channels."""
    readers: dict[Node, None] = field(default_factory=dict)
    """Dense Convs that read them."""
    depthwise: dict[Node, None] = field(default_factory=dict)
    operands: dict[Use, float] = field(default_factory=dict)
    """Other constants with a number for each channel, and the number for one that is added."""
    between: dict[Node, None] = field(default_factory=dict)
    """The operators that are no Convs."""
    obstacle: str | None = None
    """Why channels cannot be added to it."""


def find_region(edit: Edit, depthwise: Node, order: Mapping[Node, int]) -> Region:
    """The region of a depthwise Conv of the main graph, all of it, so that nobody looks at it again.

    Args:
        edit: Of the graph.
        depthwise: A Conv with constant weights and one channel a group.
        order: The places of the nodes in the graph, in the order in which they are computed.
    """
    weight = constant_of(depthwise.inputs[1])
    region = Region(depthwise.attr("group", 1), 0 if weight is None else len(weight.shape))
    _Flood(edit, region).run(depthwise)
    if region.obstacle is None:
        try:
            _require_small(region, order)
        except NoMatch as no:
            region.obstacle = str(no)
    return region


class _Flood:
    def __init__(self, edit: Edit, region: Region) -> None:
        self.edit, self.region = edit, region
        self.pending: list[Tensor] = []
        self.seen: set[Tensor] = set()

    def run(self, first: Node) -> None:
        self.region.depthwise[first] = None
        self._reach(first.inputs[0])
        while self.pending:
            tensor = self.pending.pop()
            self.region.tensors.append(tensor)
            self._try(self._end, tensor)
            self._try(self._before, tensor)
            for reader in dict.fromkeys(tensor.outputs):
                self._try(self._behind, tensor, reader)

    def _try(self, step: Callable[..., None], *given: Tensor | Node) -> None:
        """Go on behind an obstacle: the region is to be whole."""
        try:
            step(*given)
        except NoMatch as no:
            self.region.obstacle = self.region.obstacle or str(no)

    def _end(self, tensor: Tensor) -> None:
        if self.edit.is_output(tensor):
            raise NoMatch(f"'{tensor.name}' is an output of the graph")

    def _reach(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if tensor not in self.seen:
                self.seen.add(tensor)
                self.pending.append(tensor)

    def _before(self, tensor: Tensor) -> None:
        node = tensor.producer
        if node is None:
            raise NoMatch(f"'{tensor.name}' is an input of the graph or a constant")
        if node.is_op("Conv"):
            self._conv(node, node.outputs[0])
        else:
            self._between(node)

    def _behind(self, tensor: Tensor, node: Node) -> None:
        if self.edit.scope_of(node) is not self.edit.main:
            raise NoMatch(f"'{tensor.name}' is read in a subgraph")
        if node.is_op("Conv"):
            if [index for index, each in enumerate(node.inputs) if each is tensor] != [0]:
                raise NoMatch(f"{label(node)} has no constant weights")
            self._conv(node, tensor)
        else:
            self._between(node)

    def _conv(self, node: Node, tensor: Tensor) -> None:
        """A Conv of which `tensor`, its data or its output, is of the region."""
        region, channels = self.region, self.region.channels
        weight = required_constant(node.inputs[1], f"weight of {label(node)}")
        constants = [weight, required_constant(node.inputs[2], "bias")] if is_given(node, 2) else [weight]
        for constant in constants:
            if constant.dtype != np.float32:
                raise NoMatch(f"'{constant.name}' is {constant.dtype}, and only float32 is quantized")
        if len(weight.shape) != region.rank:
            raise NoMatch(f"{label(node)} has another rank")
        groups = node.attr("group", 1)
        is_output = tensor is node.outputs[0]
        found = weight.shape[0] if is_output else weight.shape[1] * groups
        if found != channels:
            raise NoMatch(f"{label(node)} has {found} channels there")
        if groups == 1:
            (region.writers if is_output else region.readers)[node] = None
            return
        if groups != channels or weight.shape[:2] != (channels, 1):
            raise NoMatch(f"{label(node)} has {groups} groups and is not depthwise")
        region.depthwise[node] = None
        self._reach(node.inputs[0], node.outputs[0])

    def _between(self, node: Node) -> None:
        """An operator that makes every channel of its output of the same channels of its inputs."""
        if node in self.region.between:
            return
        data = _data(node, self.region.rank)
        if data is None or not data:
            raise NoMatch(f"{label(node)} is not known to keep channels apart")
        if node.is_op("Add", "Sub") and len(data) > 1:
            raise NoMatch(f"{label(node)} adds another branch, which would grow too")
        if node.is_op(*_ARITHMETIC) and self.edit.main.opset < 7:
            raise NoMatch(f"{label(node)} broadcasts by attributes; convert the model to opset 7 or later")
        if any(self.edit.is_used(each) for each in node.outputs[1:] if each.name):
            raise NoMatch(f"{label(node)} has more than one output")
        self.region.between[node] = None
        if node.is_op(*_ARITHMETIC, "PRelu"):
            for index, tensor in enumerate(node.inputs):
                if tensor not in data:
                    self._operand(node, index)
        self._reach(*data, node.outputs[0])

    def _operand(self, node: Node, index: int) -> None:
        """A constant operand: one number, or one a channel."""
        constant = required_constant(node.inputs[index], f"operand of {label(node)}")
        shape = (1,) * (self.region.rank - len(constant.shape)) + constant.shape
        if len(shape) != self.region.rank or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
            raise NoMatch(f"'{constant.name}' of {label(node)} is neither one number nor one for each channel")
        if constant.dtype != np.float32:
            raise NoMatch(f"'{constant.name}' is {constant.dtype}, and only float32 is quantized")
        if shape[1] == self.region.channels:
            self.region.operands[node, index] = 1.0 if node.op == "Div" else 0.0
        elif shape[1] != 1:
            raise NoMatch(f"'{constant.name}' of {label(node)} has another number of channels")


def _data(node: Node, rank: int) -> list[Tensor] | None:
    """The inputs whose channels the output has; None of an operator that is not known to keep channels apart."""
    if node.is_op(*_SHRINKING, *_SLOPED, *_GATES, *_POOLS, "Clip", "PRelu"):
        return [node.inputs[0]]
    if node.is_op("ReduceMean"):
        axes = ints(node, 1, "axes")
        is_spatial = axes and all(axis % rank > 1 for axis in axes if -rank <= axis < rank)
        return [node.inputs[0]] if is_spatial and node.attr("keepdims", 1) == 1 else None
    if node.is_op(*_ARITHMETIC):
        data = [tensor for tensor in node.inputs if constant_of(tensor) is None]
        return None if node.op == "Div" and node.inputs[1] in data else data
    return None


def _require_small(region: Region, order: Mapping[Node, int]) -> None:
    """Bound the numbers that added channels hold, from the Convs on, where they are 0.

    Raises:
        NoMatch: They may be so large that they are not certain to be multiplied by 0 without a NaN.
    """
    levels: dict[Tensor, float] = {}
    for node in sorted(region.between, key=order.__getitem__):
        level = _LEVELS[node.op](node, [levels.get(tensor, 0.0) for tensor in node.inputs]) if node.op in _LEVELS else (
            1.0 if node.op in _GATES else levels.get(node.inputs[0], 0.0)
        )  # fmt: skip
        if not level <= _LARGEST:  # nor NaN
            raise NoMatch(f"{label(node)} would put {level:g} into added channels")
        levels[node.outputs[0]] = level


def _magnitudes(node: Node) -> list[np.ndarray]:
    """The absolute values of the constants that a node reads."""
    return [
        np.abs(found.read())
        for tensor in node.inputs
        if (found := constant_of(tensor)) is not None and found.shape != (0,)
    ]


def _product(node: Node, levels: list[float]) -> float:
    """|x y|; one level is that of a constant."""
    constants = _magnitudes(node)
    data = [level for tensor, level in zip(node.inputs, levels, strict=True) if constant_of(tensor) is None]
    return float(np.prod(data) * np.prod([constant.max() for constant in constants]))


def _clipped(node: Node, levels: list[float]) -> float:
    ends = [0.0]
    for index, name, sign in ((1, "min", 1.0), (2, "max", -1.0)):
        if name in node.attrs:
            ends.append(sign * float(node.attrs[name]))
        elif is_given(node, index):
            limit = known_value(node.inputs[index])
            if limit is None or limit.size != 1:
                raise NoMatch(f"the limits of {label(node)} are computed")
            ends.append(sign * float(limit.reshape(())))
    return max(levels[0], *ends)


_Level = Callable[[Node, list[float]], float]
_LEVELS: dict[str, _Level] = {
    "Clip": _clipped,
    "Mul": _product,
    "Div": lambda node, levels: levels[0] / float(_magnitudes(node)[0].min()) if _magnitudes(node)[0].min() else np.inf,
    "Add": lambda node, levels: max(levels) + float(_magnitudes(node)[0].max()),
    "Sub": lambda node, levels: max(levels) + float(_magnitudes(node)[0].max()),
    "PRelu": lambda node, levels: levels[0] * max(1.0, float(_magnitudes(node)[0].max())),
    **{op: lambda node, levels: levels[0] * max(1.0, abs(node.attr("alpha", 1.0))) for op in _SLOPED},
}
"""How far from 0 the output of an operator may lie, by how far its inputs do; of others no farther than the first."""
