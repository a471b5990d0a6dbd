"""Reshape and Flatten: axes split into factors, and factors that are merged into axes.

The sizes before and after are taken apart into common factors, from the first axis on. An axis of one factor that is
an axis on the other side too is the same axis. Otherwise one factor carries the channels: of [heads * size] split into
[heads, size] it may be the heads or the size, of [channels, height, width] made [features] it is the channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.proven import Dim, Dims
from onnxopt.ir.tensor import Tensor
from onnxopt.pruning.channels.links import Axis, Choice, Hidden, Joint, Links, Option, Removal
from onnxopt.pruning.channels.written import is_writable, write_element


@dataclass
class _Factor:
    """A factor of an axis of either side, or of both."""

    size: int
    before: tuple[int, int] | None = None
    """The axis of the input, and how many elements of it lie within one step of the factor."""
    after: tuple[int, int] | None = None


@dataclass
class _Side:
    """A walk along the dimensions of one side."""

    dims: Dims
    axis: int = 0
    left: int | Dim | None = None
    """What is left of this axis."""
    whole: set[int] = field(default_factory=set)

    def start(self) -> bool:
        """Go to the next axis that is not 1; False at the end."""
        while self.left is None and self.axis < len(self.dims):
            if self.dims[self.axis] == 1:
                self.axis += 1
            else:
                self.left = self.dims[self.axis]
        return self.left is not None

    def take(self, size: int) -> tuple[int, int]:
        """Take a factor off an axis of known size: the axis, and what lies within a step."""
        assert isinstance(self.left, int)
        inner = self.left // size
        place = (self.axis, inner)
        self.left = inner
        if inner == 1:
            self.skip()
        return place

    def skip(self) -> None:
        """Leave the rest of this axis."""
        self.axis, self.left = self.axis + 1, None


def reshape(node: Node, links: Links) -> None:
    """Join what the factors say, and leave open which one carries."""
    data, output = node.inputs[0], node.outputs[0]
    before, after = links.dims(data), links.dims(output)
    if before is None or after is None:
        return
    factors = _factors(before, after)
    if node.op == "Reshape":
        for axis in links.axes(output):
            if not is_writable(links, node, 1, axis.number):
                links.fix(axis, f"Reshape '{node.name}' computes size {axis.number}")
        links.on_removal(lambda removal: _rewrite(links, removal, node, before, after))
    for cluster in _clusters(factors):
        _join(cluster, node, (data, before), (output, after), links)


def _factors(before: Dims, after: Dims) -> list[_Factor]:
    found: list[_Factor] = []
    left, right = _Side(before), _Side(after)
    while left.start() and right.start():
        one, two = left.left, right.left
        if isinstance(one, int) and isinstance(two, int):
            if not one or not two or (one % two and two % one):
                return found
            size = min(one, two)
            found.append(_Factor(size, left.take(size), right.take(size)))
        elif one == two:
            left.skip()
            right.skip()
        elif not _regroup(left, right):
            return found
    return found


def _regroup(left: _Side, right: _Side) -> bool:
    """Go to where as many elements lie before on both sides; what is passed is joined with nothing."""
    products: list[dict[int | Dim, int]] = []
    for side in (left, right):
        assert side.left is not None
        product, reached = side.left, dict[int | Dim, int]()
        for axis in range(side.axis, len(side.dims)):
            if axis > side.axis:
                product = product * side.dims[axis]
            reached.setdefault(product, axis + 1)
        products.append(reached)
    for product, end in products[0].items():
        if product in products[1]:
            left.axis, left.left = end, None
            right.axis, right.left = products[1][product], None
            return True
    return False


def _clusters(factors: list[_Factor]) -> list[list[_Factor]]:
    """Factors that share an axis; they stand one behind the other."""
    clusters: list[list[_Factor]] = []
    for factor in factors:
        last = clusters[-1][-1] if clusters else None
        shares = last is not None and (
            last.before[0] == factor.before[0] or last.after[0] == factor.after[0]  # type: ignore[index]
        )
        if shares:
            clusters[-1].append(factor)
        else:
            clusters.append([factor])
    return clusters


def _join(
    cluster: list[_Factor], node: Node, before: tuple[Tensor, Dims], after: tuple[Tensor, Dims], links: Links
) -> None:
    options, axes = [], dict[Axis, None]()
    for factor in cluster:
        assert factor.before is not None and factor.after is not None
        hidden = Axis(Hidden(factor.size), 0)
        joints, carriers = [], []
        for (tensor, dims), (axis, inner) in ((before, factor.before), (after, factor.after)):
            size = dims[axis]
            assert isinstance(size, int)
            at = np.arange(size)
            joints.append(Joint(Axis(tensor, axis), hidden, at, at // inner % factor.size))
            carriers.append(Axis(tensor, axis))
            axes[Axis(tensor, axis)] = None
        options.append(Option(carriers, joints))
    (one, two), factor = options[0].carriers, cluster[0]
    if len(options) == 1 and before[1][one.number] == after[1][two.number] == factor.size:
        links.same(before[0], one.number, after[0], two.number)
        return
    links.choose(Choice(node, list(axes), options))


def _rewrite(links: Links, removal: Removal, node: Node, before: Dims, after: Dims) -> None:
    """Write the sizes that have changed, and those that were copied from an axis that has (a 0 in the shape)."""
    data, output = node.inputs[0], node.outputs[0]
    given = links.ints(node, 1, "shape")
    for axis, size in enumerate(after):
        kept = removal.of(output, axis)
        if kept is not None:
            write_element(links, removal.edit, node, 1, axis, len(kept))
        elif given is not None and given[axis] == 0 and removal.of(data, axis) is not None and isinstance(size, int):
            write_element(links, removal.edit, node, 1, axis, size)
