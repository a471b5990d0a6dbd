"""What a package has besides its program: images, labels, flexible shapes, descriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnxopt.errors import BadOption

Dim = int | tuple[int, int]
"""A size, or the least and the greatest one."""
_DIM = re.compile(r"([0-9]{1,9})(?:\.\.([0-9]{1,9}))?")


@dataclass(frozen=True)
class Sizes:
    """What shapes an input may have."""

    shapes: tuple[tuple[Dim, ...], ...]
    """One shape, which may have ranges; or several of fixed sizes, the first one being the default."""

    @classmethod
    def parse(cls, name: str, text: str) -> Sizes:
        """Read `1x3x224x224`, `1..8x3x224x224`, or `1x3x224x224|1x3x192x192`.

        Raises:
            BadOption: Not of that form; ranges among several shapes; ranks differ.
        """
        shapes = tuple(tuple(_dim(name, text, part) for part in each.split("x")) for each in text.split("|"))
        if len(shapes) > 1 and any(isinstance(dim, tuple) for shape in shapes for dim in shape):
            raise BadOption(f"shapes: {name}:{text} has both ranges (..) and several shapes (|); use one of both")
        if len({len(shape) for shape in shapes}) > 1:
            raise BadOption(f"shapes: {name}:{text} has shapes of several ranks; an input has one rank")
        return cls(shapes)

    @property
    def is_flexible(self) -> bool:
        """Whether there is more than one shape."""
        return len(self.shapes) > 1 or any(isinstance(dim, tuple) for dim in self.shapes[0])

    def varies(self, axis: int) -> bool:
        """Whether a dimension has more than one size."""
        return len({shape[axis] for shape in self.shapes}) > 1 or isinstance(self.shapes[0][axis], tuple)


def _dim(name: str, text: str, part: str) -> Dim:
    match = _DIM.fullmatch(part.strip())
    if not match or int(match[1]) < 1:
        raise BadOption(f"shapes: {name}:{text}: '{part}' is no size; write 224, or 1..8 for a range")
    low, high = int(match[1]), int(match[2] or match[1])
    if high < low:
        raise BadOption(f"shapes: {name}:{text}: the range {part} ends before it begins")
    return (low, high) if high > low else low


@dataclass(frozen=True)
class Picture:
    """An input or output that is an image."""

    color: str
    """`RGB`, `BGR` or `GRAY`."""
    scale: tuple[float, ...] = (1.0,)
    """What the numbers 0 to 255 are multiplied by as they come in, and those of an output by as they go out: one
    number, or one for each channel."""
    bias: tuple[float, ...] = (0.0,)
    """What is added then."""

    @property
    def channels(self) -> int:
        """How many channels such an image has."""
        return 1 if self.color == "GRAY" else 3

    @property
    def changes(self) -> bool:
        """Whether numbers are not taken as they are."""
        return any(each != 1 for each in self.scale) or any(self.bias)


@dataclass(frozen=True)
class Interface:
    """What a package shall look like from outside. Names are those of the ONNX model."""

    images: Mapping[str, Picture] = field(default_factory=dict)
    """Inputs."""
    image_outputs: Mapping[str, Picture] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    """Of the classes that the only output has probabilities of."""
    shapes: Mapping[str, Sizes] = field(default_factory=dict)
    float16: bool = False
    """Whether inputs and outputs of floats are float16."""
    author: str = ""
    license: str = ""
    version: str = ""
    description: str = ""
    features: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of inputs and outputs."""


def read_labels(path: str) -> tuple[str, ...]:
    """One label a line; empty lines at the end are none.

    Raises:
        BadOption: It cannot be read, has no labels, an empty one, or one twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise BadOption(f"labels: cannot read {path}: {reason}") from error
    labels = tuple(line.strip() for line in lines)
    if not labels:
        raise BadOption(f"labels: {path} has none; write one a line")
    seen: set[str] = set()
    for number, label in enumerate(labels, 1):
        if not label:
            raise BadOption(f"labels: line {number} of {path} is empty")
        if label in seen:
            raise BadOption(f"labels: {path} has '{label}' twice, the second time in line {number}")
        seen.add(label)
    return labels
