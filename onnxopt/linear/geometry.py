"""The geometry of a convolution: kernel, strides, padding, dilations; sizes, MACs and parameters that follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.linear.match import NoMatch, attribute, constant_of

Sizes = tuple[int, ...]
_Dim = TypeVar("_Dim")
_STEPS = 8
"""Operations that a shape is followed through, so that a long chain costs no more than its length."""


@dataclass(frozen=True)
class Geometry:
    """Attributes of a Conv, defaults filled in."""

    kernel: Sizes
    strides: Sizes
    pads: Sizes
    """Begin of every spatial axis, then end of every one; zeros under `auto_pad`."""
    dilations: Sizes
    auto_pad: str
    """`NOTSET`, or `SAME_UPPER` or `SAME_LOWER`; VALID is NOTSET without pads."""

    @property
    def pads_data(self) -> bool:
        """Whether zeros may be put round the data. SAME needs none for a kernel of 1."""
        return any(self.pads) or (self.auto_pad != "NOTSET" and set(self.kernel) != {1})

    def output_sizes(self, data: Sizes) -> Sizes:
        """Spatial sizes of the output (operator specification, Conv)."""
        if self.auto_pad != "NOTSET":
            return tuple(-(-size // stride) for size, stride in zip(data, self.strides, strict=True))
        half = len(self.kernel)
        return tuple(
            max((size + begin + end - dilation * (kernel - 1) - 1) // stride + 1, 0)
            for size, begin, end, dilation, kernel, stride in zip(
                data, self.pads[:half], self.pads[half:], self.dilations, self.kernel, self.strides, strict=True
            )
        )

    def padded(self, more: Sizes) -> Geometry:
        """The same, with more zeros round the data.

        Raises:
            NoMatch: Its padding depends on the size of the data.
        """
        if self.auto_pad != "NOTSET":
            raise NoMatch(f"its auto_pad={self.auto_pad} pads by the size of the data")
        return replace(self, pads=tuple(a + b for a, b in zip(self.pads, more, strict=True)))


def read_geometry(node: Node, kernel: Sizes) -> Geometry:
    """The geometry of a Conv whose weights have these spatial sizes.

    Raises:
        NoMatch: An attribute is set by a function's caller or has another length than the kernel.
    """
    rank = len(kernel)
    strides = tuple(attribute(node, "strides", None) or [1] * rank)
    dilations = tuple(attribute(node, "dilations", None) or [1] * rank)
    auto_pad = attribute(node, "auto_pad", "") or "NOTSET"
    pads = tuple(attribute(node, "pads", None) or [0] * 2 * rank)
    if auto_pad != "NOTSET":  # the specification lets neither be given with the other; onnxruntime goes by auto_pad
        pads = (0,) * 2 * rank
    if auto_pad == "VALID":
        auto_pad = "NOTSET"
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise NoMatch(f"its attributes do not fit a kernel of {rank} axes")
    return Geometry(tuple(kernel), strides, pads, dilations, auto_pad)


def write_geometry(node: Node, geometry: Geometry) -> None:
    """Give a Conv this geometry; an attribute that is left out stays out where its default says the same."""
    wanted = {"strides": (geometry.strides, 1), "dilations": (geometry.dilations, 1), "pads": (geometry.pads, 0)}
    for name, (numbers, default) in wanted.items():
        if name in node.attrs or set(numbers) != {default}:
            node.attrs[name] = list(numbers)
    if "kernel_shape" in node.attrs:
        node.attrs["kernel_shape"] = list(geometry.kernel)
    node.attrs.pop("auto_pad", None)
    if geometry.auto_pad != "NOTSET":
        node.attrs["auto_pad"] = geometry.auto_pad
        node.attrs.pop("pads", None)


def declared_shape(tensor: Tensor) -> Sequence[int | str | None] | None:
    """A tensor's declared shape, or what follows of it from the Conv or the arithmetic that it comes from.

    Good for figures alone: files in the wild declare wrong shapes. What a rewrite rests on, `Setting.shape` tells.
    """
    return followed_shape(tensor, lambda tensor: tensor.shape)


def followed_shape(tensor: Tensor, known: Callable[[Tensor], Sequence[_Dim] | None]) -> Sequence[_Dim | None] | None:
    """The shape that is known of a tensor, or what follows of it from the Conv or the arithmetic that it comes from."""
    narrowing: list[Sizes] = []
    shape: Sequence[_Dim | None] | None = None
    for _ in range(_STEPS):
        node = tensor.producer
        shape = known(tensor)
        if shape is not None or isinstance(tensor, Constant) or node is None:
            break
        if node.is_op("Conv") and (weight := constant_of(node.inputs[1])) is not None:
            shape = [None, weight.shape[0], *[None] * (len(weight.shape) - 2)]  # type: ignore[list-item]
            break
        if not node.is_op("Mul", "Add", "Sub", "Div", "BatchNormalization"):
            break
        constants = [constant for constant in map(constant_of, node.inputs) if constant is not None]
        variable = [other for other in node.inputs if constant_of(other) is None]
        if len(variable) != 1:
            break
        tensor = variable[0]
        if not node.is_op("BatchNormalization"):
            narrowing.append(constants[0].shape)
    if shape is None or not all(_broadcasts_into(sizes, shape) for sizes in narrowing):
        return None
    return shape


def _broadcasts_into(sizes: Sizes, shape: Sequence[object]) -> bool:
    """Whether an operand of these sizes leaves the shape of the data as it is."""
    if len(sizes) > len(shape):
        return False
    return all(one in (1, other) for one, other in zip(reversed(sizes), reversed(shape), strict=False))


def image_sizes(tensor: Tensor, steps: int = _STEPS) -> tuple[int, Sizes] | None:
    """The number of samples, 1 where it is not known, and the spatial sizes; None where these are not known.

    What is not declared follows from the Convs that it comes from.

    Raises:
        NoMatch: An attribute of one of them is set by a function's caller.
    """
    shape = declared_shape(tensor)
    if shape is not None and len(shape) > 2:
        sizes = tuple(size for size in shape[2:] if isinstance(size, int) and size >= 0)  # some files write -1
        if len(sizes) == len(shape) - 2:
            return (shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 1), sizes
    node = tensor.producer
    return conv_sizes(node, steps - 1) if steps and node is not None and node.is_op("Conv") else None


def conv_sizes(node: Node, steps: int = _STEPS) -> tuple[int, Sizes] | None:
    """The same for what a Conv gives, by what it is given."""
    weight, data = constant_of(node.inputs[1]), image_sizes(node.inputs[0], steps)
    if weight is None or data is None or len(data[1]) != len(weight.shape) - 2:
        return None
    return data[0], read_geometry(node, weight.shape[2:]).output_sizes(data[1])


def positions(node: Node) -> int | None:
    """Output positions of a Conv: samples times spatial sizes; None where these are not known."""
    sizes = conv_sizes(node) or image_sizes(node.outputs[0], 0)
    return None if sizes is None else sizes[0] * math.prod(sizes[1])


def is_depthwise(node: Node) -> bool:
    """Whether a Conv with constant weights has more than one group, and in each a single input channel."""
    if not node.is_op("Conv") or len(node.inputs) < 2 or (weight := constant_of(node.inputs[1])) is None:
        return False
    groups = node.attr("group", 1)
    return isinstance(groups, int) and groups > 1 and len(weight.shape) > 2 and weight.shape[1] == 1
