"""Windows that slide over axes: what convolutions and pooling have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxopt.backends.coreml.lowering.site import Site

_AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Windows:
    """For each axis after the first two."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    """How much is padded before."""
    ends: list[int]
    """How much is padded behind."""

    @property
    def extents(self) -> list[int]:
        """What a window spans, its gaps included."""
        return [(size - 1) * dilation + 1 for size, dilation in zip(self.kernel, self.dilations, strict=True)]

    @property
    def pad(self) -> list[int]:
        """As MIL has it: begin and end of each axis."""
        return [each for pair in zip(self.begins, self.ends, strict=True) for each in pair]

    def counts(self, sizes: Sequence[int]) -> list[int]:
        """How many windows there are along each axis, of these sizes."""
        padded = [size + begin + end for size, begin, end in zip(sizes, self.begins, self.ends, strict=True)]
        along = zip(padded, self.extents, self.strides, strict=True)
        return [(size - extent) // stride + 1 for size, extent, stride in along]

    def mil_padding(self) -> dict[str, Any]:
        """The parameters of MIL's operations."""
        return {"pad_type": "custom", "pad": self.pad} if any(self.pad) else {"pad_type": "valid"}


def declared(site: Site, kernel: list[int]) -> Windows:
    """What `strides`, `dilations` and `pads` of a node say, its data input 0.

    Raises:
        Refused: An attribute does not fit the rank.
    """
    places = site.rank(0) - 2
    site.require(1 <= places <= 3, f"windows over {places} axes cannot be said in MIL")
    strides, dilations = listed(site, "strides", 1, places), listed(site, "dilations", 1, places)
    pads = listed(site, "pads", 0, 2 * places)
    site.require(len(kernel) == places, f"attribute kernel_shape={kernel} is not of {places} axes")
    site.require(all(pad >= 0 for pad in pads), f"attribute pads={pads} cuts, which cannot be said in MIL")
    return Windows(kernel, strides, dilations, pads[:places], pads[places:])


def windows(site: Site, kernel: list[int]) -> Windows:
    """What `declared` gives, with the padding that `auto_pad` asks for.

    It is always written out: what MIL's `same` adds for even kernels depends on which sentence of its documentation
    one reads.

    Raises:
        Refused: An attribute does not fit the rank, or the padding depends on a size that is not fixed.
    """
    found, auto = declared(site, kernel), site.only("auto_pad", *_AUTO)
    if auto == "NOTSET":
        return found
    begins, ends = [], []
    for axis, stride in enumerate(found.strides):
        total = 0 if auto == "VALID" else _same(site, axis, stride, found.extents[axis])
        small = total // 2
        begins.append(small if auto == "SAME_UPPER" else total - small)
        ends.append(total - begins[-1])
    return replace(found, begins=begins, ends=ends)


def _same(site: Site, axis: int, stride: int, extent: int) -> int:
    """What is padded so that the output has ceil(size / stride) places."""
    if stride == 1:
        return extent - 1
    size = site.size(0, 2 + axis)
    return max((-(-size // stride) - 1) * stride + extent - size, 0)


def listed(site: Site, name: str, default: int, count: int) -> list[int]:
    """Integers of an attribute, so many of them; where it is not given, that many times the default.

    Raises:
        Refused: There are more or fewer.
    """
    values = [int(value) for value in site.attr(name) or [default] * count]
    site.require(len(values) == count, f"attribute {name}={values} is not of {count} numbers")
    return values
