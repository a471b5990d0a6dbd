"""Reductions: a channel of zeros adds nothing to a sum, and changes every other statistic."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.proven import has
from onnxopt.pruning.channels.links import Links

_SUMS = ("ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare")
REDUCTIONS = (*_SUMS, "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd")


def reduction(node: Node, links: Links) -> None:
    """Axes that are not reduced are kept apart; those of a sum lose what is 0."""
    data = node.inputs[0]
    rank = links.rank(data)
    if rank is None:
        return
    if has(node, 1, "axes"):
        given = links.ints(node, 1, "axes")
        if given is None:
            return
        axes = {axis % rank for axis in given} or (set() if node.attr("noop_with_empty_axes", 0) else set(range(rank)))
    else:
        axes = set() if node.attr("noop_with_empty_axes", 0) else set(range(rank))
    _kept_axes(node, axes, bool(node.attr("keepdims", 1)), links)
    if node.op in _SUMS:
        for axis in axes:
            if (links.size(data, axis) or 0) > 1:
                links.reads(node, 0, axis)


def arg_reduction(node: Node, links: Links) -> None:
    """ArgMax, ArgMin: give out indices of `axis`."""
    rank = links.rank(node.inputs[0])
    if rank:
        _kept_axes(node, {node.attr("axis", 0) % rank}, bool(node.attr("keepdims", 1)), links)


def _kept_axes(node: Node, reduced: set[int], keeps: bool, links: Links) -> None:
    place = 0
    for axis in range(links.rank(node.inputs[0]) or 0):
        if axis not in reduced:
            links.same(node.inputs[0], axis, node.outputs[0], place)
        place += keeps or axis not in reduced
