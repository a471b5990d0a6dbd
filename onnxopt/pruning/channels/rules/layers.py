"""Convolutions and matrix products: what they sum over, what they make, and their groups."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.match import is_given
from onnxopt.pruning.channels.links import Axis, Choice, Hidden, Joint, Links, Option, Removal


def convolution(node: Node, links: Links) -> None:
    """Conv, W [outputs, inputs / groups, *kernel], and ConvTranspose, W [inputs, outputs / groups, *kernel].

    Each kernel tap reads all channels, and positions stand for themselves.
    """
    data, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    groups = node.attr("group", 1)
    links.same(data, 0, output, 0)
    if is_given(node, 2):
        links.same(node.inputs[2], 0, output, 1)
    is_transposed = node.op == "ConvTranspose"
    if not isinstance(groups, int):
        return
    if groups > 1:
        _grouped(node, links, groups, is_transposed=is_transposed)
        return
    read, made = (0, 1) if is_transposed else (1, 0)
    links.same(data, 1, weight, read)
    links.reads(node, 0, 1)
    links.same(weight, made, output, 1)
    links.makes(node, 1, made)


def _grouped(node: Node, links: Links, groups: int, *, is_transposed: bool) -> None:
    """Either whole groups go, with all they read and make (a depthwise Conv knows no other way); or of every group
    the same inputs, and the same outputs, so that groups stay equally large.
    """
    data, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    inputs, outputs = links.size(data, 1), links.size(output, 1)
    if inputs is None or outputs is None or inputs % groups or outputs % groups or links.rank(weight) is None:
        return
    read, made = inputs // groups, outputs // groups
    data_axis, output_axis = Axis(data, 1), Axis(output, 1)
    first, second = Axis(weight, 0), Axis(weight, 1)
    whole = Axis(Hidden(groups), 0)
    both = [
        Joint(axis, whole, np.arange(size), np.arange(size) // (size // groups))
        for axis, size in ((data_axis, inputs), (output_axis, outputs), (first, inputs if is_transposed else outputs))
    ]

    def fewer_groups(removal: Removal) -> None:
        kept = removal.of(*whole)
        if kept is not None:
            node.attrs["group"] = len(kept)

    options = [Option([data_axis, output_axis], both, fewer_groups)]
    if read > 1 or made > 1:
        options.append(_alike(data_axis, output_axis, first, second, (inputs, outputs, groups), is_transposed))
        if groups < max(read, made):  # few large groups, as shufflenet's
            options.reverse()
    axes = [axis for axis in (data_axis, output_axis, first, second) if (links.size(*axis) or 0) > 1]  # type: ignore[arg-type]
    links.choose(Choice(node, axes, options))
    if read > 1:
        links.reads(node, 0, 1)
    links.makes(node, 1, 0 if not is_transposed or made == 1 else 1)


def _alike(
    data: Axis, output: Axis, first: Axis, second: Axis, counts: tuple[int, int, int], is_transposed: bool
) -> Option:
    """The same channels of every group."""
    inputs, outputs, groups = counts
    read, made = inputs // groups, outputs // groups
    joints = []
    for axis, size, each, stacked in (
        (data, inputs, read, first if is_transposed else second),
        (output, outputs, made, second if is_transposed else first),
    ):
        if each == 1:
            continue
        place = Axis(Hidden(each), 0)
        joints.append(Joint(axis, place, np.arange(size), np.arange(size) % each))
        one_group = stacked is second
        count = each if one_group else size
        joints.append(Joint(stacked, place, np.arange(count), np.arange(count) % each))
    return Option([axis for axis, each in ((data, read), (output, made)) if each > 1], joints)


def matmul(node: Node, links: Links) -> None:
    """MatMul: sums over the last axis of A and the one before it of B; batch axes are broadcast."""
    left, right, output = node.inputs[0], node.inputs[1], node.outputs[0]
    a, b = links.rank(left) or 0, links.rank(right) or 0
    if min(a, b) < 2 or links.rank(output) is None:
        return
    rank = max(a, b)
    _contracted(node, (left, a - 1), (right, b - 2), links)
    links.same(left, a - 2, output, rank - 2)
    links.same(right, b - 1, output, rank - 1)
    links.makes(node, 1, b - 1)
    for axis in range(rank - 2):
        batch = [(left, axis - rank + a), (right, axis - rank + b)]
        given = [(tensor, place) for tensor, place in batch if place >= 0]
        if all(links.size(tensor, place) is not None for tensor, place in given):
            for tensor, place in given:
                if links.size(tensor, place) != 1:
                    links.same(tensor, place, output, axis)


def gemm(node: Node, links: Links) -> None:
    """Gemm: A [M, K], B [K, N], transposed or not, and C that is broadcast to [M, N]."""
    left, right, output = node.inputs[0], node.inputs[1], node.outputs[0]
    flip, flop = bool(node.attr("transA", 0)), bool(node.attr("transB", 0))
    _contracted(node, (left, 0 if flip else 1), (right, 1 if flop else 0), links)
    links.same(left, 1 if flip else 0, output, 0)
    links.same(right, 0 if flop else 1, output, 1)
    links.makes(node, 1, 0 if flop else 1)
    if is_given(node, 2):
        bias = node.inputs[2]
        rank = links.rank(bias) or 0
        for axis in range(rank):
            links.same(bias, axis, output, axis + 2 - rank)


def _contracted(node: Node, left: tuple[Tensor, int], right: tuple[Tensor, int], links: Links) -> None:
    size = links.size(*left)
    if size is not None and size > 1 and size == links.size(*right):
        links.same(*left, *right)
        for index, (_, axis) in enumerate((left, right)):
            links.reads(node, index, axis)


def einsum(node: Node, links: Links) -> None:
    """Axes of one letter go together; one that the output lacks is summed over."""
    equation = node.attr("equation", "")
    equation = (equation.decode() if isinstance(equation, bytes) else equation).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    operands = terms.split(",")
    if not arrow or "." in equation or len(operands) != len(node.inputs):
        return
    places: dict[str, list[tuple[int, int]]] = {}
    for index, operand in enumerate(operands):
        for axis, letter in enumerate(operand):
            places.setdefault(letter, []).append((index, axis))
    for letter, found in places.items():
        inputs = [(node.inputs[index], axis) for index, axis in found]
        if len({links.size(*each) for each in inputs}) > 1 or any(term.count(letter) > 1 for term in operands):
            continue
        first = inputs[0]
        for other in inputs[1:]:
            links.same(*first, *other)
        if letter in result:
            links.same(*first, node.outputs[0], result.index(letter))
        else:
            for index, axis in found:
                links.reads(node, index, axis)
    for axis in range(links.rank(node.inputs[-1]) or 0):
        if len(operands) == 2 and operands[1][axis] in result and operands[1][axis] not in operands[0]:
            links.makes(node, 1, axis)


def recurrent(node: Node, links: Links) -> None:
    """RNN, GRU, LSTM: the features of X [steps, batch, features] are summed over with W [directions, units, features].

    The hidden units stay: their number is in all gates and states.
    """
    _contracted(node, (node.inputs[0], 2), (node.inputs[1], 2), links)
