"""Per-channel affine operations in a row that stand alone: what they are together, and what they are written as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.affine import (
    ARITHMETIC,
    Affine,
    Channels,
    data_input,
    is_per_channel,
    looks_affine,
    read_affine,
)
from onnxopt.linear.match import NoMatch, in_scope, label
from onnxopt.linear.setting import Setting

STEPS = ("BatchNormalization", *ARITHMETIC)


@dataclass(frozen=True)
class Chain:
    """Two or more operations one upon the other, and the one operation that they are together."""

    data: Tensor
    rank: int
    nodes: list[Node]
    affine: Affine

    @property
    def batch_norm(self) -> Node | None:
        """The first BatchNormalization among them."""
        return next((node for node in self.nodes if node.is_op("BatchNormalization")), None)

    @property
    def names(self) -> str:
        """Its operators, for messages."""
        return " + ".join(node.op for node in self.nodes)


Steps = list[tuple[Node, Tensor]]
"""Operations one upon the other, each with its data."""


def steps_from(edit: Edit, scope: Graph, first: Node) -> Steps:
    """The chain that begins with `first`; none where it begins earlier, or where nothing in it tells channels apart."""
    data = data_input(first) if first.is_op(*STEPS) else None
    if data is None or not looks_affine(first, data) or _continues(edit, data):
        return []
    steps: Steps = []
    node: Node | None = first
    while node is not None and node.is_op(*STEPS):
        data = data_input(node)
        if data is None or not looks_affine(node, data) or (steps and not in_scope(edit, scope, node)):
            break
        steps.append((node, data))
        node = edit.sole_reader(node.outputs[0])
    return steps if any(is_per_channel(node, source) for node, source in steps) else []


def _continues(edit: Edit, data: Tensor) -> bool:
    """Whether the data come from another operation of the same chain, where the chain was looked at already."""
    before = data.producer
    if before is None or not before.is_op(*STEPS) or edit.sole_reader(data) is None:
        return False
    source = data_input(before)
    return source is not None and looks_affine(before, source)


def compose(steps: Steps, opset: int, setting: Setting) -> tuple[Chain, Steps]:
    """The first two or more operations in a row that are per-channel, and what follows them.

    Together they are s2 (s1 x + t1) + t2.

    Raises:
        NoMatch: There are none, or the axes of the data are not certain.
    """
    taken: list[Node] = []
    start, channels, reason = steps[0][1], None, ""
    rest: Steps = []
    for index, (node, data) in enumerate(steps):
        try:
            if not taken or channels is None:
                start, channels = data, _channels(data, setting)
                whole = Affine(np.ones(channels.count), np.zeros(channels.count))
            step = read_affine(node, data, channels, opset)
        except NoMatch as no:
            if len(taken) > 1:
                rest = steps[index:]
                break
            taken, reason = [], reason or str(no)
            continue
        whole = Affine(step.scale * whole.scale, step.scale * whole.shift + step.shift)
        taken.append(node)
    if len(taken) < 2 or channels is None or channels.rank is None:
        raise NoMatch(reason or f"one {steps[0][0].op} costs less")
    return Chain(start, channels.rank, taken, whole), rest


def _channels(data: Tensor, setting: Setting) -> Channels:
    shape = setting.shape(data)
    if shape is None or len(shape) < 2 or shape[1] is None:
        known = "unknown" if shape is None else str(list(shape)).replace("None", "?")
        raise NoMatch(
            f"'{data.name}' of shape {known} is not certain to have channels: declare the shapes of the inputs"
        )
    return Channels(1, shape[1], len(shape))


def require_image(chain: Chain) -> None:
    """Refuse what only looks like an image of two or more channels.

    Raises:
        NoMatch: The data have one channel, no spatial axis, or so many that runtimes have no Conv of them.
    """
    channels = len(chain.affine.scale)
    if not 3 <= chain.rank <= 5 or channels < 2:
        raise NoMatch(f"'{chain.data.name}' of rank {chain.rank} and {channels} channels is no image of channels")


def require_no_group_norm(chain: Chain) -> None:
    """Leave alone the scale and shift of a GroupNormalization that is spelled out round an InstanceNormalization.

    Raises:
        NoMatch: The data are an InstanceNormalization's, reshaped.
    """
    reshape = chain.data.producer
    if reshape is None or not reshape.is_op("Reshape"):
        return
    norm = reshape.inputs[0].producer
    if norm is not None and norm.is_op("InstanceNormalization"):
        raise NoMatch(f"they are the scale and shift of a GroupNormalization round {label(norm)}")
