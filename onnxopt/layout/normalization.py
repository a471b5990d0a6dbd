"""LayerNormalization written out: engines look for it upon the last axes."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.proven import ints
from onnxopt.layout.permutation import Perm

WOULD_BE_OTHERS = "it is part of a normalization of the last axes, which would be others"


def is_normalization(mean: Node, axes: list[int], rank: int) -> bool:
    """Whether a reduction, over `axes` counted from the front, is the mean or variance of a normalization."""
    if mean.op != "ReduceMean" or not _are_last(axes, rank):
        return False
    squared = mean.inputs[0].producer
    return any(is_centring(reader, mean) for reader in mean.outputs[0].outputs) or (
        squared is not None and squared.is_op("Pow", "Mul")
    )


def is_centring(node: Node, mean: Node) -> bool:
    """Whether a node takes the mean off what it is the mean of."""
    return node.is_op("Sub") and node.inputs[0] is mean.inputs[0] and node.inputs[1] is mean.outputs[0]


def centres_others(node: Node, perm: Perm) -> bool:
    """Whether a Sub takes off the mean of the last axes, which a permutation would make others."""
    mean = node.inputs[1].producer if node.op == "Sub" else None
    if mean is None or not mean.is_op("ReduceMean") or not is_centring(node, mean):
        return False
    axes = [axis % len(perm) for axis in ints(mean, 1, "axes") or []]
    return _are_last(axes, len(perm)) and not stay_last(axes, perm)


def stay_last(axes: list[int], perm: Perm) -> bool:
    """Whether axes are still the last ones where a tensor is held in another layout."""
    return _are_last([perm[axis] for axis in axes], len(perm))


def _are_last(axes: list[int], rank: int) -> bool:
    return bool(axes) and sorted(set(axes)) == list(range(rank - len(set(axes)), rank))
