"""Normalizations: exact without a channel where its statistics are its own."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.pruning.channels.links import Axis, Hidden, Joint, Links, Removal


def batch_normalization(node: Node, links: Links) -> None:
    """BatchNormalization, and InstanceNormalization, whose statistics are of one channel of one sample."""
    if len([output for output in node.outputs if output.name]) > 1:
        return
    data, output = node.inputs[0], node.outputs[0]
    links.same(data, 0, output, 0)
    links.same(data, 1, output, 1)
    if node.op == "BatchNormalization":
        for axis in range(2, links.rank(data) or 0):
            links.same(data, axis, output, axis)
    for parameter in node.inputs[1:]:
        if parameter.name:
            links.same(parameter, 0, output, 1)


def group_normalization(node: Node, links: Links) -> None:
    """GroupNormalization: statistics are of a group of channels, so whole groups go."""
    data, output, groups = node.inputs[0], node.outputs[0], node.attr("num_groups", 0)
    channels = links.size(data, 1)
    if not channels or not groups or channels % groups:
        return
    whole = Axis(Hidden(groups), 0)
    links.same(data, 0, output, 0)
    for tensor, axis in ((data, 1), (output, 1), *((parameter, 0) for parameter in node.inputs[1:])):
        size = links.size(tensor, axis)
        if (
            size is not None and size in (groups, channels) and size > 1
        ):  # one number a group until opset 20, one a channel since
            links.join(Joint(Axis(tensor, axis), whole, np.arange(size), np.arange(size) // (size // groups)))

    def fewer_groups(removal: Removal) -> None:
        kept = removal.of(*whole)
        if kept is not None:
            node.attrs["num_groups"] = len(kept)

    links.on_removal(fewer_groups)


def layer_normalization(node: Node, links: Links) -> None:
    """LayerNormalization, RMSNormalization: the axes from `axis` on have statistics together, and stay."""
    rank = links.rank(node.inputs[0])
    if rank is not None:
        for axis in range(node.attr("axis", -1) % rank):
            _through(node, axis, links)


def softmax(node: Node, links: Links) -> None:
    """Softmax, LogSoftmax, Hardmax: `axis` alone, or all from there on before opset 13."""
    rank = links.rank(node.inputs[0])
    if rank is None:
        return
    since_13 = links.opset >= 13
    given = node.attr("axis", -1 if since_13 else 1) % rank
    for axis in range(rank):
        if axis != given and (since_13 or axis < given):
            _through(node, axis, links)


def mean_variance(node: Node, links: Links) -> None:
    """MeanVarianceNormalization: statistics over `axes`."""
    rank = links.rank(node.inputs[0]) or 0
    given = {axis % rank for axis in node.attr("axes", [0, 2, 3])} if rank else set()
    for axis in set(range(rank)) - given:
        _through(node, axis, links)


def along(node: Node, links: Links) -> None:
    """Operators that work along one axis, `axis`, and leave the others apart: CumSum, LpNormalization."""
    rank = links.rank(node.inputs[0])
    if rank is None:
        return
    given = node.attr("axis", -1)
    if node.op in ("CumSum", "CumProd"):
        found = links.ints(node, 1, "")
        if found is None:
            return
        given = found[0]
    for axis in set(range(rank)) - {given % rank}:
        _through(node, axis, links)


def _through(node: Node, axis: int, links: Links) -> None:
    data: Tensor = node.inputs[0]
    links.same(data, axis, node.outputs[0], axis)
